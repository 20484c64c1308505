# SPDX-License-Identifier: Apache-2.0
"""A moving camera: its trajectory, a map of what it saw, and run folders that hold both."""
