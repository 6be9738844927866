"""Sources: one algorithm a file."""
