# SPDX-License-Identifier: Apache-2.0
"""What every test shares: helpers of test/support by name, and no time limit on examples."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

SUPPORT = str(Path(__file__).parent / 'support')
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)

settings.register_profile('any machine', deadline=None)  # a busy machine is no failure
settings.load_profile('any machine')
