# SPDX-License-Identifier: Apache-2.0
"""The engines, one file or folder each, loaded by name through the registry."""
