"""`pond demo`: a real shop from its files to answered calls."""
