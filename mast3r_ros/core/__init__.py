# SPDX-License-Identifier: Apache-2.0
"""What needs NumPy, OpenCV and Pillow alone: views, results, cameras, matching, the pipeline."""
