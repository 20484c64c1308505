# SPDX-License-Identifier: Apache-2.0
"""The browser view: what it is fed is plain NumPy, and it knows no ROS."""
