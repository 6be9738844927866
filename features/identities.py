"""Identities: several ids of one person, and which of them is the canonical one (PRODUCT.md, K3).

A row of the table `identities` says that the id `id_value` is another id of `customer_id`; of two customers who turned
out to be one it says so with the id_type `customer`. Any id may be named wherever a customer is. What was said first
about an id holds (taking a person apart again is refused), and what would close a circle is passed over: the live state
judges by the same two rules.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from features import columns as c
from features.contracts import Tables

MERGED: Final = "customer"  # the id_type of one customer merged into another


def flattened(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return other id → canonical id from links (id, id of the same person) in the order they were said.

    Chains a → b → c lead to the end; canonical ids are not in the result.
    """
    of: dict[str, str] = {}

    def end(name: str) -> str:
        found = name
        while found in of:
            found = of[found]
        while name != found:
            of[name], name = found, of[name]
        return found

    for other, customer_id in links:
        if other not in of and (canonical := end(customer_id)) != other:
            of[other] = canonical
    return {other: end(other) for other in of}


def canonical_ids(tables: Tables) -> dict[str, str]:
    """Return other id → canonical id as the tables know them."""
    said = tables.scan("identities").select("id_value", c.CUSTOMER_ID).collect()
    return flattened(said.iter_rows())


def with_canonical_ids(rows: pl.LazyFrame, canonical: Mapping[str, str]) -> pl.LazyFrame:
    """Return rows with every customer_id made canonical."""
    if not canonical:
        return rows
    return rows.with_columns(pl.col(c.CUSTOMER_ID).replace(dict(canonical)))
