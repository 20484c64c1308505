# SPDX-License-Identifier: Apache-2.0
"""The nodes: the only place that knows rclpy and messages."""

import os

# OpenBLAS's threads spin for a tenth of a second after every matrix product, a core each: that may
# be more than a pair costs. It reads this (2**20 cycles) when NumPy is loaded, so it stands first.
os.environ.setdefault('OPENBLAS_THREAD_TIMEOUT', '20')

try:
    import rclpy as rclpy

    import mast3r_ros.msg  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'mast3r_ros.ros needs ROS 2 and the built messages ({error}): '
        'build with colcon and source install/setup.bash, or run `make setup`'
    ) from error
