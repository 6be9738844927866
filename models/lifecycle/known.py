"""What a release and what came since know of one customer, as the `Life` that a profile is made from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.trails import NO_TRAIL, Trail
from models.lifecycle.life import About, Life
from models.lifecycle.model import LifecycleModel
from models.query import Query
from models.trained import Models


def life_of(models: Models, query: Query, person: Sequence[int], about: About, later: Trail = NO_TRAIL) -> Life:
    """Return the life of a person strictly before the moment of a query.

    Parameters
    ----------
    query : Query
        His own (`Models.query`): histories by kind of item, those of the release and what came since.
    person : sequence of int
        His customers of the release, as in the query.
    later : Trail
        Events about no item that came since the release.
    """
    part, at = models.part(LifecycleModel), query.at
    told = part.told_of(person, models.histories, at)
    since = np.zeros(len(query.history) - len(told), np.bool_)
    trail = part.trail_of(person).before(at).then(later.before(at))
    return Life(
        query.history, query.contents, query.bundles, np.concatenate([told, since]), trail, about,
        part.n_invited(person, at),
    )  # fmt: skip


def trained_row(models: Models, customer_idx: int) -> Mapping[str, Any] | None:
    """Return the row of the table `customers` that a release knows of a customer; None for a stranger."""
    return models.customers.frame.row(customer_idx, named=True) if customer_idx >= 0 else None


def about_first(rows: Sequence[Mapping[str, Any] | None]) -> About:
    """Return what the first row that says anything tells of a customer."""
    return next((told for told in map(About.of, rows) if told.is_known), About())
