# SPDX-License-Identifier: Apache-2.0
"""The wheel's packages; everything else about the wheel stands in setup.cfg.

Messages and settings files lie outside the package, where ROS looks for them; a wheel carries them
inside, as mast3r_ros/_share, so that they arrive wherever it is installed to.
"""

from setuptools import find_packages, setup

SHARED = {'mast3r_ros._share.config': 'config', 'mast3r_ros._share.msg': 'msg'}

setup(
    packages=[*find_packages(include=['mast3r_ros', 'mast3r_ros.*']), *SHARED],
    package_dir=SHARED,
    package_data={
        'mast3r_ros': ['py.typed'],
        'mast3r_ros._share.config': ['*.yaml'],
        'mast3r_ros._share.msg': ['*.msg'],
    },
)
