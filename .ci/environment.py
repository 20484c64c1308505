# SPDX-License-Identifier: Apache-2.0
"""Makes the development environments and runs commands in them; the Makefile's only tool.

This file stays readable by old Pythons, so that they can say that they are too old.
"""

import sys

OLDEST = (3, 10)
NEWEST = (3, 13)


def main(arguments):
    """Check the Python, then hand over to the modules that need it."""
    version = tuple(sys.version_info[:2])
    if not OLDEST <= version <= NEWEST:
        sys.stderr.write(
            'Python {}.{} is not supported: use Python {}.{} to {}.{}, for example '
            '`make setup PYTHON=python3.11`.\n'.format(*(version + OLDEST + NEWEST))
        )
        return 2
    from development.command import run

    return run(arguments)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
