"""Groups: what to post for many customers at once (PRODUCT.md, W5)."""
