# SPDX-License-Identifier: Apache-2.0
"""The nodes: the only place that knows rclpy and messages."""

try:
    import rclpy as rclpy

    import mast3r_ros.msg  # noqa: F401
except ImportError as error:
    raise ImportError(
        f'mast3r_ros.ros needs ROS 2 and the built messages ({error}): '
        'build with colcon and source install/setup.bash, or run `make setup`'
    ) from error
