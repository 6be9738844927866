"""Rows of customers who were erased on request: not taken in, and not kept among the rejects either."""

import re
from dataclasses import replace
from typing import Final

import polars as pl

from features import columns as c
from features.erasure import Erased
from features.ingest.rows import TypedRows
from features.ingest.source import Reject
from features.person import ERASED, Person

_WORD: Final = re.compile(r"[^\s,;|\"'{}\[\]:=]+")


def without_erased(typed: TypedRows, erased: Erased) -> tuple[pl.DataFrame, pl.Series, pl.Series]:
    """Return the frame without mention of erased customers, which rows are good, and which are an erased customer's."""
    good = typed.reasons.is_null()
    nobody = pl.repeat(value=False, n=len(good), eager=True)
    if not erased.digests or c.CUSTOMER_ID not in typed.frame.columns:
        return typed.frame, good, nobody
    named = [name for name in (c.CUSTOMER_ID, "inviter_id", "advisor_id") if name in typed.frame.columns]
    found = {one for name in named for one in erased.among(typed.frame[name].drop_nulls().unique().to_list())}
    if not found:
        return typed.frame, good, nobody
    person = Person.of(found)
    own = typed.frame.select(person.own(typed.frame).alias("own"))["own"]
    return person.unnamed(typed.frame), good & ~own, own


def without_erased_texts(rejects: list[Reject], erased: Erased) -> list[Reject]:
    """Return rejects without the text of rows in which an erased id stands as a word."""
    if not erased.digests:
        return rejects
    return [
        replace(one, row=ERASED) if one.row in erased or erased.among(_WORD.findall(one.row)) else one
        for one in rejects
    ]
