"""Pictures of the guides, drawn from what the code says and what the benchmarks measured."""
