"""What is known: contracts, ingestion, the lake, datasets and feature definitions (the lowest layer)."""
