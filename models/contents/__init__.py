"""Contents: articles, short videos, live streams and podcasts, and who wants to read them (PRODUCT.md, W3)."""
