"""The JAX primitive and the public functions over it."""
