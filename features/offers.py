"""Campaigns: which products one offers, as the table `campaigns` tells it."""

import json
from typing import Any

import polars as pl

from features import columns as c
from features.contracts import Tables


def offered_products(tables: Tables, campaign_id: str) -> tuple[str, ...]:
    """Return the products of a campaign's offers, in order, each once; none for a campaign that is not known.

    `offers` is JSON: an offer or a list of offers, each with `product_ids`.
    """
    rows = tables.scan("campaigns").filter(pl.col(c.CAMPAIGN_ID) == campaign_id).select("offers").collect()
    told = [text for text in rows["offers"].to_list() if text]
    return tuple(dict.fromkeys(product for text in told for product in _products(json.loads(text))))


def _products(offers: Any) -> list[str]:
    every = offers if isinstance(offers, list) else [offers]
    return [str(one) for offer in every if isinstance(offer, dict) for one in offer.get("product_ids") or ()]
