# SPDX-License-Identifier: Apache-2.0
"""Exported networks on TensorRT, on an NVIDIA card; not yet run on hardware."""
