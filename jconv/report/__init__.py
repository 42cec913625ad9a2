"""Reports of runs, comparisons and sweeps: pages, tables and plots."""
