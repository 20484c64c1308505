# SPDX-License-Identifier: Apache-2.0
"""Exported networks on OpenVINO, on the processor."""
