# SPDX-License-Identifier: Apache-2.0
"""Message fields to core types and back, duck-typed: no ROS is imported, so replay needs none."""
