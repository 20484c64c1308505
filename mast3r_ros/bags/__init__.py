# SPDX-License-Identifier: Apache-2.0
"""Recorded bags without ROS: read, replayed through the pipeline, written."""
