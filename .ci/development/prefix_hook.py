# SPDX-License-Identifier: Apache-2.0
"""Makes a virtual environment a ROS prefix: installed into it, run whenever its Python starts.

The shared libraries of messages are found by LD_LIBRARY_PATH, which counts only when a process
starts; so Python starts once more with it. This replaces the like hook of the ROS wheels, which
leaves the folders' order to chance and does nothing inside a process of another environment.
"""

import os
import sys
from glob import glob

VISITED = 'MAST3R_ROS_PREFIX'  # the environment this process was last started again for


def _put_first(variable: str, folders: list[str]) -> None:
    others = [path for path in os.environ.get(variable, '').split(os.pathsep) if path]
    rest = [path for path in others if path not in folders]
    os.environ[variable] = os.pathsep.join([*folders, *rest])


def enter() -> None:
    """Set the environment variables and start again, once for each environment."""
    if os.environ.get(VISITED) == sys.prefix or not sys.executable:
        return
    wheels = sorted(glob(os.path.join(os.path.dirname(__file__), 'ros_*.libs')))
    _put_first('LD_LIBRARY_PATH', [os.path.join(sys.prefix, 'lib'), *wheels])
    _put_first('AMENT_PREFIX_PATH', [sys.prefix])
    os.environ[VISITED] = sys.prefix
    os.environ['_ROS_WHEELS_BOOTSTRAP_COMPLETE'] = '1'
    os.execv(sys.executable, sys.orig_argv)


enter()
