# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a model folder, and the comparison of any two engines."""
