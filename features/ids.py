"""Ids: the names of shops, and the frozen map between external ids and dense indexes."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from features.arrays import Int32s, Int64s, UInt8s, UInt64s
from features.errors import UsageError

SHOP_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
RELEASE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
MAX_ID_CHARS: Final = 256


def validated_shop_name(name: str) -> str:
    """Return `name` when it may name a shop, else raise; a shop's name is also a directory's."""
    if not SHOP_NAME.fullmatch(name):
        raise UsageError(
            f"'{name[:60]}' cannot name a shop: "
            "use 1 to 41 small letters, digits and hyphens, starting with a letter or digit."
        )
    return name


def validated_release_id(name: str) -> str:
    """Return `name` when it may name a release, else raise; a release's name is also a directory's."""
    if not RELEASE_ID.fullmatch(name):
        raise UsageError(f"'{name[:60]}' cannot name a release; `pond releases` lists those there are.")
    return name


def stable_hash(text: str) -> int:
    """64-bit hash of a text that is the same in every process, machine and release (BLAKE2b)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, eq=False)
class IdMap:
    """External ids ↔ dense indexes 0 … n-1, as arrays that can be memory-mapped (no dictionary, no objects).

    Attributes
    ----------
    utf8 : uint8 [bytes]
        All ids' UTF-8 bytes, one after the other, in index order.
    offsets : int64 [n + 1]
        Id i is `utf8[offsets[i]:offsets[i + 1]]`.
    hashes : uint64 [n]
        `stable_hash` of the ids, ascending.
    order : int32 [n]
        The dense index of each entry of `hashes`.
    """

    utf8: UInt8s
    offsets: Int64s
    hashes: UInt64s
    order: Int32s

    @classmethod
    def of(cls, ids: Iterable[str]) -> "IdMap":
        """Build the map; `ids` in index order, without duplicates (a duplicate is a `ValueError`)."""
        texts = list(ids)
        encoded = [t.encode() for t in texts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(b) for b in encoded], out=offsets[1:])
        raw = np.fromiter((stable_hash(t) for t in texts), np.uint64, len(texts))
        order = np.argsort(raw, kind="stable").astype(np.int32)
        if len(set(texts)) != len(texts):
            raise ValueError("ids are not unique")
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets, raw[order], order)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.idx(text) >= 0

    def text(self, idx: int) -> str:
        """Return the external id of a dense index."""
        return bytes(self.utf8[self.offsets[idx] : self.offsets[idx + 1]]).decode()

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """All external ids in index order (materialized once, for offline work)."""
        data, cuts = self.utf8.tobytes(), self.offsets.tolist()
        return tuple(data[a:b].decode() for a, b in pairwise(cuts))

    def idx(self, text: str) -> int:
        """Return the dense index of an external id, -1 when it is unknown."""
        wanted = np.uint64(stable_hash(text))
        at = int(np.searchsorted(self.hashes, wanted))
        while at < len(self.hashes) and self.hashes[at] == wanted:
            found = int(self.order[at])
            if self.text(found) == text:
                return found
            at += 1
        return -1

    def idxs(self, texts: Sequence[str]) -> Int32s:
        """Dense indexes of many ids, -1 where unknown: int32 [len(texts)]."""
        return np.fromiter((self.idx(t) for t in texts), np.int32, len(texts))
