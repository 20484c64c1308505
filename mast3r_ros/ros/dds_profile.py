# SPDX-License-Identifier: Apache-2.0
"""Fast DDS and large pictures: enough shared memory for them, unless somebody said otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_share_directory,
    get_packages_with_prefixes,
)

PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Where Fast DDS looks for its settings: up to Jazzy, and from Kilted on."""

_SAYS_OTHERWISE = (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS')


def give_pictures_room() -> None:
    """Have Fast DDS take more shared memory than one picture needs, unless told otherwise.

    A burst of two pictures and two masks does not fit into what it takes by itself: what is lost
    comes late or never, and a pair goes without its mask or its other half. To be called before
    rclpy is initialised; other middlewares do not read it.
    """
    if any(name in os.environ for name in _SAYS_OTHERWISE):
        return
    try:
        share = get_package_share_directory('mast3r_ros')
    except PackageNotFoundError:  # run from the sources
        return
    profile = Path(share, 'config', 'fastdds.xml')
    if profile.is_file():
        os.environ[profile_variable()] = str(profile)


def profile_variable() -> str:
    """Return the variable that this Fast DDS reads: a newer one that finds both reads both."""
    older, newer = PROFILE_VARIABLES
    return older if 'fastrtps_cmake_module' in get_packages_with_prefixes() else newer
