# SPDX-License-Identifier: Apache-2.0
"""What ``ros2 launch`` does, without ros2cli: ``launch_program.py FILE [NAME:=VALUE ...]``."""

from __future__ import annotations

import sys

from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource


def main():
    path, *words = sys.argv[1:]
    given = [tuple(word.split(':=', 1)) for word in words]
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path), launch_arguments=given
    )
    service = LaunchService(argv=words)
    service.include_launch_description(LaunchDescription([included]))
    return service.run()


if __name__ == '__main__':
    sys.exit(main())
