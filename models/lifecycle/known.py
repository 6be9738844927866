"""What a release and what came since know of one customer, as the `Life` that a profile is made from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.history import Histories
from features.trails import NO_TRAIL, Trail
from models.lifecycle.life import About, Life
from models.lifecycle.model import LifecycleModel
from models.query import Query


def life_of(
    part: LifecycleModel, histories: Histories, query: Query, about: About, later: Trail = NO_TRAIL
) -> Life:  # fmt: skip
    """Return the life of a person strictly before the moment of a query.

    Parameters
    ----------
    histories : Histories
        Of products, as the release has them.
    query : Query
        His own (`Models.query`): histories by kind of item, those of the release and what came since.
    later : Trail
        Events about no item that came since the release.
    """
    person, at = query.person, query.at
    told = part.told_of(person, histories, at)
    since = np.zeros(len(query.history) - len(told), np.bool_)
    trail = part.trail_of(person).before(at).then(later.before(at))
    return Life(
        query.history, query.contents, query.bundles, np.concatenate([told, since]), trail, about,
        part.n_invited(person, at),
    )  # fmt: skip


def about_first(rows: Sequence[Mapping[str, Any] | None]) -> About:
    """Return what the first row that says anything tells of a customer."""
    return next((told for told in map(About.of, rows) if told.is_known), About())
