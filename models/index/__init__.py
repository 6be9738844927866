"""Vector indexes: the exact oracle and FAISS."""
