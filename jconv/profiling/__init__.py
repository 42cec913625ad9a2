"""Timing of one operation, and of every algorithm on one convolution."""
