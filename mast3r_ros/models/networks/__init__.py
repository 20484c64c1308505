# SPDX-License-Identifier: Apache-2.0
"""The networks in PyTorch, cut into the stages that engines run and exports write.

Every stage has static shapes: whatever depends on positions alone is computed when it is built.
"""
