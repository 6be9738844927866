"""Paths of the HTTP service, one module a theme (DESIGN §8)."""
