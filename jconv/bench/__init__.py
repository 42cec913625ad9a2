"""Benchmarks of published layers and networks against `lax` and torch."""
