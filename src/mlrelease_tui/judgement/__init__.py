"""Canary statistics: counts in, a verdict out. Pure: no clock, no network, no randomness."""
