"""Whom a shop has erased on request, told by keyed digests: an id can be recognized, but not read back.

The control plane keeps the receipts (`service/receipts.py`) and the key; `shops/<shop>/erased.json` is their copy for
everything that works on files alone (ingestion, datasets, batch answers). The live state has another copy.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from features import columns as c
from features.durable import storage_errors, write_synced
from features.errors import ArtifactCorrupt
from features.shop import Shop

FILE: Final = "erased.json"
FORMAT_VERSION: Final = 1
DIGEST_BYTES: Final = 16


class Scanned(Protocol):
    """The committed rows of each table (the lake is one)."""

    def scan(self, table: str) -> pl.LazyFrame:
        """Return all committed rows of a table."""
        ...


def digest_of(key: bytes, shop: str, customer_id: str) -> bytes:
    """Return what stands for an erased id: BLAKE2b-128 of shop and id under the home's key (at most 64 bytes)."""
    return blake2b(f"{shop}\0{customer_id}".encode(), key=key, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Erased:
    """The erased customers of one shop; asking costs about 1 µs an id, nothing when nobody was erased."""

    shop: str = ""
    key: bytes = b""
    digests: frozenset[bytes] = frozenset()

    def __contains__(self, customer_id: object) -> bool:
        return (
            bool(self.digests)
            and isinstance(customer_id, str)
            and digest_of(self.key, self.shop, customer_id) in self.digests
        )

    def among(self, ids: Iterable[str]) -> list[str]:
        """Return those of some ids that were erased."""
        return [one for one in ids if one in self] if self.digests else []


NOBODY_ERASED: Final = Erased()


def read_erased(shop: Shop) -> Erased:
    """Read whom a shop has erased; a damaged file is `ArtifactCorrupt`: guessing would bring people back."""
    path = shop.root / FILE
    try:
        said = json.loads(path.read_text("utf-8"))
        if said["format_version"] > FORMAT_VERSION:
            raise ArtifactCorrupt(str(path), "was written by a newer Pond")
        return Erased(shop.name, bytes.fromhex(said["key"]), frozenset(map(bytes.fromhex, said["digests"])))
    except FileNotFoundError:
        return NOBODY_ERASED
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(str(path), f"cannot be read ({error})") from error


def write_erased(shop: Shop, erased: Erased) -> None:
    """Write the shop's copy, whole, readable by its owner only."""
    told = {
        "format_version": FORMAT_VERSION, "key": erased.key.hex(), "digests": sorted(d.hex() for d in erased.digests),
    }  # fmt: skip
    path: Path = shop.root / FILE
    with storage_errors(path):
        temporary = path.with_name(path.name + ".tmp")
        temporary.touch(0o600)
        write_synced(path, json.dumps(told, indent=1).encode())


def erased_customers(tables: Scanned, erased: Erased) -> list[str]:
    """Return the erased customers of whom tables still hold events or a profile."""
    if not erased.digests:
        return []
    ids = pl.concat([tables.scan(table).select(c.CUSTOMER_ID) for table in ("events", "customers")]).unique()
    return erased.among(ids.collect()[c.CUSTOMER_ID].to_list())
