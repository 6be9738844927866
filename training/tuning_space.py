"""What `pond tune` may change, as data: a row for each setting, and how a configuration takes such values.

Left out on purpose: diversity (`category_decay`), repeat policies and fallbacks are decisions of the shop, which NDCG
would only switch off; numbers of candidates trade time for quality, which a metric of quality cannot weigh.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from models.catalogue import SOURCES
from models.config import PipelineConfig, SceneConfig

Value: TypeAlias = int | float
ANY: Final = "*"
DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Setting:
    """One number that may change: its path in `pond.toml` (`*`: any name) and its range; `log`: in equal factors."""

    path: tuple[str, ...]
    kind: Literal["int", "float"]
    low: float
    high: float
    log: bool = True

    @property
    def name(self) -> str:
        """Its path with dots."""
        return ".".join(self.path)

    def rounded(self, value: float) -> Value:
        """Return the value as it is tried and written: what was judged is what the file says."""
        short = round(value) if self.kind == "int" else float(f"{value:.{DIGITS}g}")
        return type(short)(min(max(short, self.low), self.high))


SETTINGS: Final = (
    Setting(("sources", "popular", "half_life_days"), "float", 7, 400),
    Setting(("sources", "repeat", "half_life_days"), "float", 10, 720),
    Setting(("sources", "repeat", "popularity"), "float", 0.001, 3),
    Setting(("sources", "next_basket", "decay"), "float", 0.6, 1, log=False),
    Setting(("sources", "next_basket", "idf_power"), "float", 0, 1.5, log=False),
    Setting(("sources", "next_basket", "n_neighbours"), "int", 50, 1000),
    Setting(("sources", "next_basket", "power"), "float", 0.5, 6),
    Setting(("sources", "userknn", "item_exponent"), "float", 0, 1.2, log=False),
    Setting(("sources", "userknn", "customer_exponent"), "float", 0, 1.2, log=False),
    Setting(("sources", "userknn", "power"), "float", 0.5, 5),
    Setting(("sources", "userknn", "popularity_exponent"), "float", 0, 1, log=False),
    Setting(("sources", "userknn", "n_neighbours"), "int", 50, 2000),
    Setting(("sources", "userknn", "half_life_days"), "float", 15, 720),
    Setting(("sources", "itemknn", "alpha"), "float", 0.3, 2, log=False),
    Setting(("sources", "itemknn", "beta"), "float", 0, 1, log=False),
    Setting(("sources", "itemknn", "n_neighbours"), "int", 30, 1000),
    Setting(("sources", "itemknn", "half_life_days"), "float", 10, 720),
    Setting(("sources", "als", "dim"), "int", 16, 256),
    Setting(("sources", "als", "alpha"), "float", 1, 300),
    Setting(("sources", "als", "regularization"), "float", 0.005, 1),
    Setting(("sources", "als", "half_life_days"), "float", 20, 1000),
    Setting(("sources", "gf_cf", "dim"), "int", 32, 1024),
    Setting(("sources", "gf_cf", "low_pass"), "float", 0.01, 5),
    Setting(("sources", "gf_cf", "half_life_days"), "float", 10, 720),
    Setting(("sources", "ease", "regularization"), "float", 0.1, 100),
    Setting(("sources", "ease", "half_life_days"), "float", 10, 720),
    Setting(("sources", "sequence", "reach"), "int", 1, 20),
    Setting(("sources", "sequence", "decay"), "float", 0.2, 1, log=False),
    Setting(("sources", "sequence", "half_life_days"), "float", 3, 360),
    Setting(("sources", "sequence", "together"), "float", 0, 2, log=False),
    Setting(("sources", "sequence", "in_exponent"), "float", 0, 1, log=False),
    Setting(("sources", "hybrid", "dim"), "int", 16, 128),
    Setting(("sources", "hybrid", "epochs"), "int", 3, 30),
    Setting(("sources", "hybrid", "learning_rate"), "float", 0.01, 0.3),
    Setting(("sources", "content_based", "dim"), "int", 16, 256),
    Setting(("sources", "content_based", "half_life_days"), "float", 10, 720),
    Setting(("sources", "newest", "half_life_days"), "float", 3, 90),
    Setting(("scenes", ANY, "sources", ANY), "float", 0.003, 3),
    Setting(("scenes", ANY, "rank_offset"), "float", 1, 100),
    Setting(("ranker", "n_trees"), "int", 40, 500),
    Setting(("ranker", "n_leaves"), "int", 7, 127),
    Setting(("ranker", "learning_rate"), "float", 0.02, 0.3),
    Setting(("ranker", "min_rows_in_leaf"), "int", 10, 500),
    Setting(("ranker", "feature_share"), "float", 0.2, 1, log=False),
    Setting(("ranker", "l2"), "float", 0.1, 50),
)


@dataclass(frozen=True, slots=True)
class Part:
    """What one trial changes together, everything else standing still: a source, a scene's blend, or the rankers.

    `current` holds the value of each setting in the configuration that tuning starts from.
    """

    name: str
    settings: tuple[Setting, ...]
    current: tuple[Value, ...]


def search_parts(config: PipelineConfig, scenes: tuple[str, ...], learned: tuple[str, ...]) -> tuple[Part, ...]:
    """Return the parts whose settings can matter to some scenes, in the order of the table.

    Parameters
    ----------
    learned : tuple of str
        Rankers that this data was enough to learn. Where one orders a scene, the blend's weights say nothing.
    """
    recipes = {name: config.all_scenes[name] for name in scenes}
    asked = {source for recipe in recipes.values() for source in recipe.heard}
    parts = [_part(f"sources.{name}", config) for name in SOURCES if name in asked]
    for name, recipe in recipes.items():
        if recipe.ranker not in learned and len(recipe.sources) > 1:
            parts.append(_blend_part(name, recipe))
    if any(recipe.ranker in learned for recipe in recipes.values()):
        parts.append(_part("ranker", config))
    return tuple(part for part in parts if part.settings)


def _part(name: str, config: PipelineConfig) -> Part:
    path = tuple(name.split("."))
    settings = [setting for setting in SETTINGS if setting.path[:-1] == path]
    values = config.ranker if name == "ranker" else config.source(path[1])
    return _reaching(name, {setting: getattr(values, setting.path[-1]) for setting in settings})


def _blend_part(scene: str, recipe: SceneConfig) -> Part:
    """Weights and offset of a scene; only ratios of weights matter, so the heaviest stays as it is."""
    weight = next(setting for setting in SETTINGS if setting.path == ("scenes", ANY, "sources", ANY))
    offset = next(setting for setting in SETTINGS if setting.path == ("scenes", ANY, "rank_offset"))
    heaviest = max(recipe.sources, key=lambda name: recipe.sources[name])
    current: dict[Setting, Value] = {
        replace(weight, path=("scenes", scene, "sources", name)): value
        for name, value in recipe.sources.items()
        if name != heaviest and value > 0
    }
    return _reaching(
        f"scenes.{scene}", current | {replace(offset, path=("scenes", scene, "rank_offset")): recipe.rank_offset}
    )


def _reaching(name: str, current: Mapping[Setting, Value]) -> Part:
    """Widen the ranges to reach what is set now: a shop may have gone further than the table."""
    settings = tuple(replace(s, low=min(s.low, value), high=max(s.high, value)) for s, value in current.items())
    return Part(name, settings, tuple(current.values()))


def with_values(config: PipelineConfig, values: Mapping[tuple[str, ...], Value]) -> PipelineConfig:
    """Return the configuration with some settings replaced, checked as every configuration is."""
    tree: dict[str, Any] = config.model_dump()
    for path, value in values.items():
        if path[0] == "scenes":
            tree["scenes"].setdefault(path[1], config.all_scenes[path[1]].model_dump())
        at = tree
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = value
    return PipelineConfig.model_validate(tree)
