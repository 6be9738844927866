"""What a release is made of, stated once: which sources with which settings, and a recipe for each scene."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from features.columns import ITEM_KINDS
from features.errors import ContractError
from features.sentences import mistake
from models.catalogue import PARTS, SOURCES
from models.fatigue import FatigueConfig
from models.rank.ranker import RankerConfig

RepeatPolicy = Literal["allow", "exclude", "only"]
START_POINTS: Final = ("history", "seeds", "basket")


Weight: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SceneConfig(BaseModel):
    """The recipe of a scene: a named place with its own sources, weights and rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, Weight] = Field(
        description="Weight of each source in the blend; a source not named is not asked."
    )
    among: str = Field(
        "",
        description="The source whose finds are the only candidates: the others propose none, they order these. "
        "Empty: every source proposes.",
    )
    scorers: tuple[str, ...] = Field(
        (),
        description="Sources that propose nothing here, or aspects of sources (`itemknn.nearest`); the ranker hears "
        "what they think of what the others found.",
    )
    start_from: Literal["history", "seeds", "basket"] = Field(
        "history", description="What the personal sources look at: the history, the items named, or the basket."
    )
    repeat_policy: RepeatPolicy = Field(
        "allow",
        description="allow: what was bought may come again; exclude: it may not; only: nothing else may, also not as a "
        "fallback: the list is short, and empty for a stranger, and the answer says so.",
    )
    fallback: tuple[str, ...] = Field(("popular",), description="Sources that fill a list that stays short, in order.")
    candidates: int = Field(200, ge=1, le=5000, description="Most candidates taken from each source.")
    depth: int = Field(
        1, ge=1, le=50, description="A ranker sees what a source says of this many times as many items as it proposes."
    )
    ranked: int = Field(
        200, ge=1, le=5000, description="Most candidates that a ranker looks at: the best of the blend by rank."
    )
    rank_offset: float = Field(10.0, gt=0, description="c in weight / (c + rank): how slowly a source's voice fades.")
    ranker: str = Field(
        "", description="The scene whose learned ranker orders this one; empty: the blend by rank orders it."
    )
    category_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="A further pick of the same category counts this much of the one before; 1: no diversity.",
    )
    brand_decay: float = Field(
        1.0, gt=0, le=1, description="The same for a further pick of the same brand; 1: brands do not matter."
    )
    diversity_window: int = Field(
        0, ge=0, le=1000, description="Only the last so many picks count for diversity; 0: all that came before."
    )
    mix: dict[str, Weight] = Field(
        default_factory=dict,
        description="Share of each kind of item (product, content, bundle) here; empty: products only.",
    )
    category_depth: int = Field(2, ge=1, le=8, description="Parts of the category path that make two items alike.")

    @model_validator(mode="after")
    def _can_answer(self) -> Self:
        if not any(self.sources.values()):
            raise ValueError("sources: none has a weight above 0, so nothing would be found; give one to at least one")
        for name in ("scorers", "fallback"):
            told = getattr(self, name)
            if len(set(told)) < len(told):
                raise ValueError(f"{name}: a source is named twice ({', '.join(told)}); name each once")
        if unknown := [name for name in self.mix if name not in ITEM_KINDS]:
            raise ValueError(f"mix: there is no kind of item '{unknown[0]}'; known are {', '.join(ITEM_KINDS)}")
        if self.mix and not any(self.mix.values()):
            raise ValueError("mix: none has a share above 0, so nothing would be shown; leave it out for products")
        if self.among and self.among not in self.sources:
            raise ValueError(f"among: '{self.among}' is none of the scene's sources ({', '.join(self.sources)})")
        return self

    @property
    def heard(self) -> tuple[str, ...]:
        """What the ranker hears, in order: the sources that propose, then the scorers."""
        return (*self.sources, *(name for name in self.scorers if name not in self.sources))

    @property
    def heard_sources(self) -> tuple[str, ...]:
        """Sources that `heard` comes from, each once."""
        return tuple(dict.fromkeys(name.partition(".")[0] for name in self.heard))

    @property
    def asks(self) -> tuple[str, ...]:
        """Every source that an answer may ask."""
        return (*self.heard_sources, *self.fallback)


DEFAULT_SCENES: Final[dict[str, SceneConfig]] = {
    "home": SceneConfig(
        sources={"repeat": 1.0, "itemknn": 0.1, "als": 0.05, "hybrid": 0.02, "content_based": 0.01, "popular": 0.05},
        rank_offset=5.0, category_decay=0.95,
    ),
    "rebuy": SceneConfig(
        sources={"repeat": 1.0, "next_basket": 0.3, "itemknn": 0.05}, repeat_policy="only", ranker="next_basket",
        scorers=("sequence", "popular", "content_based", "own_kinds"),
    ),
    "discover": SceneConfig(
        sources={"itemknn": 0.3, "next_basket": 0.2, "userknn": 0.6, "als": 0.6, "popular": 0.02},
        repeat_policy="exclude", candidates=150, depth=6, rank_offset=30.0, category_decay=0.97, ranker="discover",
        scorers=("content_based", "own_kinds", "itemknn.nearest", "itemknn.reverse"),
    ),
    "next_basket": SceneConfig(
        sources={"repeat": 1.0, "next_basket": 0.3, "sequence": 0.2, "itemknn": 0.05, "popular": 0.05},
        scorers=("content_based", "own_kinds"), ranker="next_basket",
    ),
    "similar": SceneConfig(sources={"itemknn": 1.0, "content_based": 0.7, "als": 0.3}, start_from="seeds"),
    "cart": SceneConfig(
        sources={"completion": 1.0, "itemknn": 0.02, "content_based": 0.02}, start_from="basket", ranked=400,
    ),
    "popular": SceneConfig(sources={"popular": 1.0}),
    "new": SceneConfig(
        sources={"newest": 0.5, "own_kinds": 1.0}, among="newest", repeat_policy="exclude", candidates=5000,
    ),
}  # fmt: skip


class PipelineConfig(BaseModel):
    """Everything that decides what a release contains and how its scenes answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, description="Seed of every part of the run.")
    sources: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Settings of each source by name; what is not said is that source's default."
    )
    parts: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Settings of each part beside the sources: contents, bundles …"
    )
    fatigue: FatigueConfig = Field(
        default=FatigueConfig(), description="When what was shown again and again without a click rests."
    )
    ranker: RankerConfig = Field(default=RankerConfig(), description="Settings of the learned rankers.")
    scenes: dict[str, SceneConfig] = Field(
        default_factory=dict, description="Recipes by scene; added to the standard ones."
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, settings in self.sources.items():
            _known_source(name)
            _check("sources", SOURCES[name].config, name, settings)
        for name, settings in self.parts.items():
            if name not in PARTS:
                raise ValueError(f"there is no part '{name}'; known are {', '.join(PARTS)}")
            _check("parts", PARTS[name].config, name, settings)
        for place, scene in self.scenes.items():
            for name in scene.asks:
                _known_source(name)
            for name in scene.scorers:
                _known_aspect(name)
            self._check_ranker(f"scenes.{place}.ranker", scene.ranker)
        return self

    def _check_ranker(self, setting: str, name: str) -> None:
        if name and name not in self.all_scenes:
            raise ValueError(f"{setting}: there is no scene '{name}' whose ranker could order this one")
        # Lessons are asked from histories alone, and from one source's word nothing is learned but its own order.
        if name and (self.all_scenes[name].start_from != "history" or len(self.all_scenes[name].heard) < 2):
            raise ValueError(
                f"{setting}: none is learned for the scene '{name}'; name one that starts from the history and hears "
                f"several sources, such as {', '.join(n for n, s in DEFAULT_SCENES.items() if s.ranker == n)}"
            )

    def source(self, name: str) -> BaseModel:
        """Return the settings of a source."""
        return SOURCES[name].config.model_validate(self.sources.get(name, {}))

    def part(self, name: str) -> BaseModel:
        """Return the settings of a part."""
        return PARTS[name].config.model_validate(self.parts.get(name, {}))

    @property
    def all_scenes(self) -> dict[str, SceneConfig]:
        """The standard scenes with the shop's own put over them."""
        return DEFAULT_SCENES | self.scenes

    @property
    def used_sources(self) -> tuple[str, ...]:
        """Sources that some scene asks, in the catalogue's order."""
        asked = {name for scene in self.all_scenes.values() for name in scene.asks}
        return tuple(name for name in SOURCES if name in asked)

    @property
    def ranked_scenes(self) -> tuple[str, ...]:
        """Scenes that a ranker is learned for."""
        return tuple(sorted({scene.ranker for scene in self.all_scenes.values() if scene.ranker}))

    def has_standard_blend(self, scene: str) -> bool:
        """Whether a scene weighs its sources as standard: weights that a shop sets itself are never learned over."""
        standard, asked = DEFAULT_SCENES.get(scene), self.all_scenes[scene]
        same = standard is not None and (standard.sources, standard.rank_offset) == (asked.sources, asked.rank_offset)
        return same and len(asked.sources) > 1

    @property
    def digest(self) -> str:
        """The same for configurations that train and serve alike."""
        full = {name: self.source(name).model_dump(mode="json") for name in self.used_sources}
        scenes = {name: scene.model_dump(mode="json") for name, scene in sorted(self.all_scenes.items())}
        ranker = self.ranker.model_dump(mode="json")
        parts = {name: self.part(name).model_dump(mode="json") for name in PARTS}
        told = (self.seed, full, scenes, ranker, parts, self.fatigue.model_dump(mode="json"))
        return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()


def _known_source(name: str) -> None:
    if name not in SOURCES:
        raise ValueError(f"there is no source '{name}'; known are {', '.join(SOURCES)}")


def _known_aspect(name: str) -> None:
    source, _, aspect = name.partition(".")
    if aspect and aspect not in SOURCES[source].aspects:
        raise ValueError(f"there is no '{name}'; aspects of {source}: {', '.join(SOURCES[source].aspects) or 'none'}")


def _check(group: str, config: type[BaseModel], name: str, settings: Mapping[str, Any]) -> None:
    """Check the settings of one source or part; the error says where among all settings the mistake is."""
    try:
        config.model_validate(settings)
    except ValidationError as error:
        where, why = mistake(error)
        told = InitErrorDetails(
            type=PydanticCustomError("setting", "{why}", {"why": why}), loc=(group, name, where), input=settings
        )
        raise ValidationError.from_exception_data(group, [told]) from error


def validated_pipeline_config(settings: Mapping[str, Any], origin: str) -> PipelineConfig:
    """Check merged settings; a mistake is a `ContractError` naming the setting and where it came from.

    A scene that is partly given (`scenes.home.category_decay = 1`) keeps its standard recipe for the rest.
    """
    merged = dict(settings)
    scenes = merged.get("scenes", {})
    if isinstance(scenes, Mapping):
        merged["scenes"] = {
            name: DEFAULT_SCENES[name].model_dump() | dict(given)
            if name in DEFAULT_SCENES and isinstance(given, Mapping)
            else given
            for name, given in scenes.items()
        }
    try:
        return PipelineConfig.model_validate(merged)
    except ValidationError as error:
        where, why = mistake(error)
        raise ContractError(origin, where, f"{why}; mend the setting.") from error
