"""Customer attributes as texts: the JSON column `attributes` of the customers table, read."""

import json

from features.dataset import Entities


def read_attributes(customers: Entities) -> list[dict[str, str]]:
    """Return each customer's attributes by name, in index order; empty where nothing (readable) is known.

    Nested values and nulls are no attributes; numbers and booleans become their JSON text.
    """
    if "attributes" not in customers.frame.columns:
        return [{} for _ in range(len(customers))]
    return [attributes_of(text) for text in customers.frame["attributes"].to_list()]


def attributes_of(text: str | None) -> dict[str, str]:
    """Return the attributes in one cell by name, in the order of the names (see `read_attributes`)."""
    if not text:
        return {}
    try:
        known = json.loads(text)
    except json.JSONDecodeError:
        return {}
    if not isinstance(known, dict):
        return {}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in sorted(known.items())
        if isinstance(value, str | int | float | bool)
    }
