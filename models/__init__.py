"""All mathematics: pure, given (data, configuration, randomness)."""
