"""Bundles as they go over the wire."""

import numpy as np

from models.bundles.wishes import BundleDetails
from models.items import ItemTable
from service.schemas import BundleOut, PartOut


def bundle_out(bundle: BundleDetails, items: ItemTable) -> BundleOut:
    """Return what a bundle says of itself, in the shop's ids."""
    prices = items.price[list(bundle.parts)].astype(np.float64).round(2).tolist()
    roles = bundle.roles or ("",) * len(bundle.parts)
    parts = [
        PartOut(item_id=items.text(i), title=items.titles[i], price=None if np.isnan(price) else price, role=role)
        for i, price, role in zip(bundle.parts, prices, roles, strict=True)
    ]
    return BundleOut(
        parts=parts, price=bundle.price, saving=bundle.saving, margin=bundle.margin, evidence=dict(bundle.evidence)
    )
