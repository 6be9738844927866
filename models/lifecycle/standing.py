"""Where the customer of a decision stands, as attributes: what operators' rules and contents are written for."""

from collections.abc import Mapping
from typing import Final

from features.history import Histories
from models.lifecycle.known import life_of
from models.lifecycle.life import About, Lives
from models.lifecycle.model import LifecycleModel
from models.lifecycle.profile import profiles_of
from models.lifecycle.rules import LAYERS, STAGES, STRANGER
from models.query import Query

LIFECYCLE_STAGE: Final = "lifecycle_stage"
VALUE_LAYER: Final = "value_layer"
STANDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    LIFECYCLE_STAGE: tuple(stage for stage in STAGES if stage != STRANGER), VALUE_LAYER: LAYERS,
}  # fmt: skip


def standing_of(part: LifecycleModel, histories: Histories, query: Query) -> Mapping[str, str]:
    """Return stage and layer of the customer of a query, as `GET /v1/customers/{id}` tells them; nothing of a stranger.

    `histories` are those of products in the release. Events about no item count until the release; a profile knows the
    later ones too. Cost: some milliseconds, so it is asked only where a rule or a content turns on it.
    """
    life = life_of(part, histories, query, About(attributes=query.attributes))
    profile = next(profiles_of(part, Lives.of([life]), query.at))
    return {} if profile.stage == STRANGER else {LIFECYCLE_STAGE: profile.stage, VALUE_LAYER: profile.layer}
