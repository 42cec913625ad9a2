"""`jconv bench`: published layers, timed against `lax` and torch."""
