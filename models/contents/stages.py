"""The stage of life or of the customer's lifecycle that a content is written for."""

from typing import Final

import numpy as np

from features.arrays import Float32s
from models.lifecycle.standing import LIFECYCLE_STAGE
from models.query import Query

TOLD_AS: Final = ("stage", "life_stage", LIFECYCLE_STAGE)


def stages_of(query: Query) -> frozenset[str]:
    """Return the stages a customer is in, as his attributes say; nothing is said of a stranger who has told nothing.

    The storefront adds that of the lifecycle to what the shop told.
    """
    return frozenset(query.attributes[name].casefold() for name in TOLD_AS if query.attributes.get(name))


def stage_fit(query: Query, stages: tuple[str, ...]) -> Float32s:
    """Return 1 for contents written for a stage the customer is in, -1 for another's, 0 where nothing is said: [n]."""
    if not any(stages):
        return np.zeros(len(stages), np.float32)
    own = stages_of(query)
    if not own:
        return np.zeros(len(stages), np.float32)
    return np.array([0.0 if not one else 1.0 if one.casefold() in own else -1.0 for one in stages], np.float32)
