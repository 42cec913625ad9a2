"""Sweeps: one run for each of several values of a config."""
