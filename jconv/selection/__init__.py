"""The choice of an algorithm: measured table, cost model, plan, reason."""
