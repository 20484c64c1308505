# SPDX-License-Identifier: Apache-2.0
"""How the development environments are made: standard library only, it runs before pip does."""
