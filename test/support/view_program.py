# SPDX-License-Identifier: Apache-2.0
"""A view in a process of its own, of a wall of one colour: ``view_program.py PORT R G B``."""

from __future__ import annotations

import sys
import time

from view_parts import feed

from mast3r_ros.viewer.scene import Scene
from mast3r_ros.viewer.server import address_of, open_server


def main():
    port, *color = map(int, sys.argv[1:])
    server = open_server(port=port)
    scene = Scene(server, '/mast3r')
    print(address_of(server), flush=True)
    number = 0
    while True:
        number += 1
        feed(scene, number, tuple(color))
        time.sleep(0.2)


if __name__ == '__main__':
    main()
