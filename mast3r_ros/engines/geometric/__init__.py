# SPDX-License-Identifier: Apache-2.0
"""The engine that needs no network: calibrated stereo, and motion between two frames."""
