"""Profiles as plain values: what goes over the wire, into the lake and into files, one way for all three."""

import json
from collections.abc import Mapping
from typing import Any, Final

from models.lifecycle.acts import ActiveHour
from models.lifecycle.profile import Profile
from models.lifecycle.tastes import Taste
from models.reasons import Reason

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DIGITS: Final = 4


def told(profile: Profile) -> dict[str, Any]:
    """Return a profile as a JSON-able object; numbers are rounded to four digits after the point."""
    return {
        "stage": {"name": profile.stage, "reason": _reason(profile.stage_reason)},
        "layer": {"name": profile.layer, "reason": _reason(profile.layer_reason)},
        "recency_days": profile.recency_days, "age_days": profile.age_days,
        "purchase_days": profile.purchase_days, "baskets": profile.baskets, "lines": profile.lines,
        **{name: _rounded(getattr(profile, name)) for name in _NUMBERS},
        "categories": [_taste(one) for one in profile.categories], "brands": [_taste(one) for one in profile.brands],
        "active_hours": [
            {"hour": one.hour, "name": hour_name(one), "share": _rounded(one.share)} for one in profile.hours
        ],
        "channels": [
            {"channel": one.channel, "share": _rounded(one.share), "last_at": one.last_at} for one in profile.channels
        ],
        "tags": list(profile.about.tags),
        "derived_tags": [
            {"code": tag.code, "zh": tag.zh, "en": tag.en, "rule_zh": tag.rule_zh, "rule_en": tag.rule_en}
            for tag in profile.derived
        ],
        "attributes": dict(profile.about.attributes), "group_ids": list(profile.about.group_ids),
        "advisor_id": profile.about.advisor_id or None, "inviter_id": profile.about.inviter_id or None,
        "joined_at": profile.about.joined_at, "invited": profile.n_invited, "notes": list(profile.notes),
    }  # fmt: skip


_NUMBERS: Final = (
    "typical_gap_days", "spend", "year_spend", "margin", "margin_share", "basket_value", "p_alive", "expected_30",
    "expected_90", "expected_spend_90", "price_level", "discount_share",
)  # fmt: skip


def row_of(customer_id: str, release: str, profile: Profile) -> dict[str, Any]:
    """Return a profile as its row in the table `profiles`: what one filters by, and all of it as JSON in `body`."""
    whole = told(profile)
    numbers = {name: whole[name] for name in _NUMBERS if name != "margin_share"}
    return numbers | {
        "customer_id": customer_id, "as_of": profile.at, "release": release,
        "stage": profile.stage, "stage_zh": profile.stage_reason.zh, "stage_en": profile.stage_reason.en,
        "layer": profile.layer, "layer_zh": profile.layer_reason.zh, "layer_en": profile.layer_reason.en,
        "recency_days": profile.recency_days, "purchase_days": profile.purchase_days, "baskets": profile.baskets,
        "categories": [one.name for one in profile.categories], "brands": [one.name for one in profile.brands],
        "active_hours": [hour_name(one) for one in profile.hours],
        "channels": [one.channel for one in profile.channels], "tags": list(profile.about.tags),
        "derived_tags": [tag.code for tag in profile.derived],
        "body": json.dumps(whole, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
    }  # fmt: skip


def hour_name(hour: ActiveHour) -> str:
    """Return an hour of the week as people say it: `Mon 20`."""
    return f"{WEEKDAYS[hour.hour // 24]} {hour.hour % 24}"


def _reason(reason: Reason) -> Mapping[str, str]:
    return {"code": reason.code, "zh": reason.zh, "en": reason.en}


def _taste(one: Taste) -> Mapping[str, Any]:
    return {"name": one.name, "share": _rounded(one.share), "strength": _rounded(one.strength)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
