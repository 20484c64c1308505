# SPDX-License-Identifier: Apache-2.0
"""The simulated stereo drone: a textured world, a flight over it, and what its cameras see."""
