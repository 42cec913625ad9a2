"""Timing one operation, and racing the algorithms on it."""
