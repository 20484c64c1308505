# SPDX-License-Identifier: Apache-2.0
"""What NumPy's own threads do once their work is done."""

from __future__ import annotations

import os
import subprocess
import sys

SHARE = 0.05  # of a core; a single thread that spins on takes a third of it
SPENT = """
import time
import mast3r_ros.ros
import numpy as np
vectors, others = np.ones((200000, 24), np.float32), np.ones((24, 200), np.float32)
vectors @ others
time.sleep(0.02)
cpu_s = time.process_time()
time.sleep(0.28)
print((time.process_time() - cpu_s) / 0.28)
"""


def test_after_a_matrix_product_no_thread_of_a_node_spins_on():
    environment = {key: value for key, value in os.environ.items() if 'OPENBLAS' not in key}
    done = subprocess.run(
        [sys.executable, '-c', SPENT], env=environment, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < SHARE
