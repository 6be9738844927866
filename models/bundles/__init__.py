"""Bundles: products that go together, as one offer (PRODUCT.md, W2)."""
