# SPDX-License-Identifier: Apache-2.0
"""Exported networks on Core ML, on Apple's machines; not yet run on hardware."""
