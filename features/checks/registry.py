"""The checks of `pond check`; adding one is a file and a line here."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from features.checks.catalogue import check_catalogue
from features.checks.consents import check_consents
from features.checks.duplicates import check_duplicates
from features.checks.gaps import check_gaps
from features.checks.order import check_order
from features.checks.prices import check_prices
from features.checks.result import CheckResult
from features.checks.unknown_ids import check_unknown_customers, check_unknown_items
from features.checks.volume import check_volume
from features.contracts import Tables
from features.shop import Shop

Check: TypeAlias = Callable[[Tables, Shop], CheckResult]

CHECKS: Final[Mapping[str, Check]] = {
    "order": check_order,
    "duplicates": check_duplicates,
    "gaps": check_gaps,
    "volume": check_volume,
    "unknown_items": check_unknown_items,
    "unknown_customers": check_unknown_customers,
    "prices": check_prices,
    "catalogue": check_catalogue,
    "consents": check_consents,
}


def run_checks(lake: Tables, shop: Shop) -> list[CheckResult]:
    """Run every check over the committed rows; memory is bounded by the number of customers, items and days."""
    return [check(lake, shop) for check in CHECKS.values()]
