"""Randomness always arrives as an argument; seeds of parts are derived from one seed and a name."""

import hashlib

import numpy as np


def derived_seed(seed: int, *names: str) -> int:
    """31-bit seed of the part `names` of a run: the same for the same inputs in every process."""
    text = "\x1f".join((str(seed), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") & 0x7FFFFFFF


def derived_rng(seed: int, *names: str) -> np.random.Generator:
    """Return the generator of the part `names` of a run."""
    return np.random.default_rng(derived_seed(seed, *names))
