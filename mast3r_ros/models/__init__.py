# SPDX-License-Identifier: Apache-2.0
"""Published networks: what they are, how their files are read, and how they run in PyTorch."""
