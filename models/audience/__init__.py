"""Audiences: for something to sell, the customers most likely to want it now (PRODUCT.md, W6)."""
