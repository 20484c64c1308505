# SPDX-License-Identifier: Apache-2.0
"""Message classes of the sourced ROS by their full names."""

from __future__ import annotations

import importlib


def class_of(type_name):
    """The class of a type as ``sensor_msgs/msg/Image``."""
    package, _, name = type_name.partition('/msg/')
    return getattr(importlib.import_module(f'{package}.msg'), name)
