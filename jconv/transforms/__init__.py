"""Transformations of other people's JAX functions: accelerate, inspect, tune."""
