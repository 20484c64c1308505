# SPDX-License-Identifier: Apache-2.0
"""Exported networks on ONNX Runtime: on the processor, or on an NVIDIA card by CUDA."""
