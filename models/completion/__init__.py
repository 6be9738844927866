"""Completing a basket: which product goes with the ones that are in it (PRODUCT.md, scene `cart`)."""
