"""A release: the trained, versioned, immutable set of models of one shop (DESIGN §3).

    <release>/
        manifest.json      who, when, from what, how good, and a checksum of every file
        config.json        the configuration it was trained with
        histories/         the customers' product events before `as_of`
        refusals/          who had switched personalization off, and when
        customers/         ids, and customers.parquet: their attributes
        products/          ids, and products.parquet: the catalogue as of training
        sources/<name>/    each fitted source
        rankers/<scene>/   the learned rankers, where there was enough to learn from
        blends.json        the learned weights of sources, of scenes that no ranker orders

Everything is arrays, Parquet, JSON or a library's own text or index format; nothing can execute.
"""

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from features.arrays import Int32s
from features.attributes import attributes_of
from features.clock import shop_day_start
from features.consents import Refusals
from features.dataset import Dataset, Entities
from features.errors import ArtifactCorrupt, ReleaseError
from features.history import EMPTY, Histories, History, joined
from features.ids import IdMap
from models.artifact import load_value, save_value
from models.catalogue import SOURCES
from models.config import PipelineConfig, SceneConfig
from models.items import ItemTable
from models.mount import Mount
from models.pipeline import Pipeline
from models.query import NO_ITEMS, Query
from models.rank.blend import LearnedBlend
from models.rank.ranker import RankerModel
from models.seams import CandidateSource

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
_DIGEST: Final = "manifest_digest"
BLENDS: Final = "blends.json"


class Manifest(BaseModel):
    """What a release says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    release_id: str
    shop: str
    timezone: str
    day_starts: int = Field(0, description="Local hour at which the shop's day, the models' clock, turns")
    created_at: int = Field(description="UTC µs; the only thing two equal trainings differ in, with the id and git_sha")
    as_of: int = Field(description="UTC µs; everything in the release lies strictly before")
    watermarks: dict[str, str] = Field(default_factory=dict, description="Last journal entry contained, by partition")
    dataset_digest: str
    config_digest: str
    revision_of: str = Field("", description="The release it took the place of when a customer was erased")
    content_digest: str = Field(description="Over all files but this one: equal trainings have equal digests")
    git_sha: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    gates: dict[str, str] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    files: dict[str, str] = Field(description="BLAKE2b of every file, by path inside the release")
    manifest_digest: str = Field(
        "", description="BLAKE2b of this file with this value left empty; older ones have none"
    )


@dataclass(frozen=True, eq=False)
class EntityTable:
    """Ids and rows of the customers or products a release knows (`Entities` as of training, made plain)."""

    ids: IdMap
    frame: pl.DataFrame

    @classmethod
    def of(cls, entities: Entities) -> Self:
        """Take the rows valid at the dataset's moment."""
        return cls(entities.ids, entities.frame)

    def entities(self, as_of: int) -> Entities:
        """Return them as a dataset holds them."""
        return Entities(self.ids, self.frame.with_columns(valid_from=pl.lit(0, pl.Int64)), as_of)


@dataclass(frozen=True, eq=False)
class Models:
    """Everything a release serves with, in memory: what training makes and `load_release` reads back."""

    timezone: str
    as_of: int
    config: PipelineConfig
    customers: EntityTable
    products: EntityTable
    histories: Histories
    sources: Mapping[str, CandidateSource]
    rankers: Mapping[str, RankerModel] = field(default_factory=dict)
    blends: Mapping[str, LearnedBlend] = field(default_factory=dict)
    day_starts: int = 0
    refusals: Refusals = field(default_factory=lambda: Refusals.of({}))

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        config: PipelineConfig,
        sources: Mapping[str, CandidateSource],
        rankers: Mapping[str, RankerModel] | None = None,
    ) -> Self:
        """Put fitted sources together with what they were fitted on."""
        return cls(
            dataset.timezone, dataset.as_of, config, EntityTable.of(dataset.customers),
            EntityTable.of(dataset.products), dataset.product_events, sources, rankers or {},
            day_starts=dataset.day_starts, refusals=Refusals.of(dataset.refused),
        )  # fmt: skip

    @cached_property
    def pipeline(self) -> Pipeline:
        """The pipeline over these models."""
        return Pipeline(self.sources, self.recipes, self.rankers)

    @cached_property
    def recipes(self) -> dict[str, SceneConfig]:
        """The recipe of each scene, what was learned put over what was said."""
        learned = {
            scene: {"sources": blend.weights, "rank_offset": blend.rank_offset} for scene, blend in self.blends.items()
        }
        return {name: said.model_copy(update=learned.get(name)) for name, said in self.config.all_scenes.items()}

    @cached_property
    def items(self) -> ItemTable:
        """The products as they were at training."""
        return ItemTable.of(self.products.entities(self.as_of))

    @cached_property
    def _attribute_texts(self) -> pl.Series:
        frame = self.customers.frame
        return frame["attributes"] if "attributes" in frame.columns else pl.Series([None] * len(frame), dtype=pl.String)

    def attributes(self, customer_idx: int) -> dict[str, str]:
        """Return a customer's attributes as texts, as the models were taught them; none for a stranger."""
        return attributes_of(self._attribute_texts[customer_idx]) if customer_idx >= 0 else {}

    def person(self, ids: Iterable[str]) -> tuple[int, ...]:
        """Return the indexes of the ids of one person that the release knows, the one with the most history first.

        Ids that became one person after training are customers of their own here; those before are one customer.
        """
        known = [idx for idx in map(self.customers.ids.idx, ids) if idx >= 0]
        return tuple(sorted(known, key=lambda idx: -len(self.histories.of(idx))))

    def query(
        self, customer_idx: int, at: int, tail: History = EMPTY, seeds: Int32s = NO_ITEMS, also: Sequence[int] = ()
    ) -> Query:
        """Return the question of a customer (-1: a stranger) at a moment: only what lies strictly before it.

        `tail` is what happened after the release, its items in this release's indexes, ascending in time; `also` are
        further customers of the release who are the same person (see `person`).
        """
        history = joined([self.histories.of(idx) for idx in (customer_idx, *also)]).before(at).then(tail.before(at))
        moment = shop_day_start(at, self.timezone, self.day_starts)
        return Query(at, moment, customer_idx, history, seeds, self.attributes(customer_idx), self.as_of)


@dataclass(frozen=True, eq=False)
class Release:
    """A release on disk with its models mapped into memory; while it is held, its directory is not removed."""

    directory: Path
    manifest: Manifest
    models: Models = field(repr=False)
    mount: Mount | None = field(default=None, repr=False)


def write_release(models: Models, directory: Path, facts: Mapping[str, Any]) -> Manifest:
    """Write models below `directory` (created) and return the manifest, which is written last.

    `facts` are the fields of the manifest that the models do not know: release_id, shop, created_at, watermarks,
    dataset_digest, git_sha, metrics, gates, counts.
    """
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(models.config.model_dump_json(indent=1), "utf-8")
    save_value(models.customers, directory / "customers")
    save_value(models.products, directory / "products")
    save_value(models.histories, directory / "histories")
    save_value(models.refusals, directory / "refusals")
    (directory / "sources").mkdir()
    for name, source in models.sources.items():
        save_value(source, directory / "sources" / name)
    (directory / "rankers").mkdir()
    for name, ranker in models.rankers.items():
        save_value(ranker, directory / "rankers" / name)
    learned = {scene: blend.model_dump(mode="json") for scene, blend in sorted(models.blends.items())}
    (directory / BLENDS).write_text(json.dumps(learned, indent=1), "utf-8")
    files = {str(p.relative_to(directory)): file_digest(p) for p in sorted(directory.rglob("*")) if p.is_file()}
    manifest = Manifest(
        timezone=models.timezone, day_starts=models.day_starts, as_of=models.as_of, config_digest=models.config.digest,
        files=files, content_digest=_digest(json.dumps(files)), **facts,
    )  # fmt: skip
    return write_manifest(directory, manifest)


def write_manifest(directory: Path, manifest: Manifest) -> Manifest:
    """Write what a release says of itself, with a checksum over every byte of it, and return it so."""
    unsigned = manifest.model_copy(update={"manifest_digest": ""})
    signed = unsigned.model_copy(update={"manifest_digest": _digest(_manifest_text(unsigned))})
    (directory / MANIFEST).write_text(_manifest_text(signed), "utf-8")
    return signed


def read_manifest(directory: Path) -> Manifest:
    """Read what a release says of itself; damage is `ArtifactCorrupt`, another format version a `ReleaseError`."""
    path = directory / MANIFEST
    try:
        text = path.read_text("utf-8")
        content = json.loads(text)
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise ReleaseError(
                f"{directory.name} has format version {version}, newer than {FORMAT_VERSION}: upgrade Pond to read it."
            )
        if version < FORMAT_VERSION:
            raise ReleaseError(
                f"{directory.name} has format version {version}, this Pond reads {FORMAT_VERSION}: run `pond upgrade`."
            )
        manifest = Manifest.model_validate(content)
        stated, files = manifest.manifest_digest, manifest.files
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactCorrupt(str(path), f"is not a manifest ({type(error).__name__})") from error
    if stated and _digest(text.replace(f'"{_DIGEST}": "{stated}"', f'"{_DIGEST}": ""')) != stated:
        raise ArtifactCorrupt(str(path), "is not what was written")
    if manifest.content_digest != _digest(json.dumps(files)):
        raise ArtifactCorrupt(str(path), "names checksums that do not belong together")
    return manifest


def _manifest_text(manifest: Manifest) -> str:
    return manifest.model_dump_json(indent=1)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_release(directory: Path, *, verify: bool = True) -> Release:
    """Map a release into memory; with `verify` every file is compared with its checksum first."""
    manifest = read_manifest(directory)
    mount = Mount.of(directory / MANIFEST)
    if verify:
        verify_files(directory, manifest)
    try:
        config = PipelineConfig.model_validate_json((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactCorrupt(str(directory / "config.json"), f"cannot be read ({error})") from error
    sources = {
        name: load_value(entry.model, directory / "sources" / name)
        for name, entry in SOURCES.items()
        if (directory / "sources" / name).is_dir()
    }
    models = Models(
        manifest.timezone, manifest.as_of, config,
        load_value(EntityTable, directory / "customers"), load_value(EntityTable, directory / "products"),
        load_value(Histories, directory / "histories"), sources,
        {p.name: load_value(RankerModel, p) for p in sorted((directory / "rankers").glob("*"))},
        _read_blends(directory / BLENDS), manifest.day_starts, _read_refusals(directory / "refusals"),
    )  # fmt: skip
    return Release(directory, manifest, models, mount)


def _read_refusals(directory: Path) -> Refusals:
    # A release made before refusals were kept has none; of a damaged one the checksums tell.
    return load_value(Refusals, directory) if directory.is_dir() else Refusals.of({})


def _read_blends(path: Path) -> dict[str, LearnedBlend]:
    if not path.exists():  # a release made before weights were learned; a damaged one fails its checksums
        return {}
    try:
        return {name: LearnedBlend.model_validate(said) for name, said in json.loads(path.read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ArtifactCorrupt(str(path), f"cannot be read ({error})") from error


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compare every file with its checksum; what is missing, changed, too much or a link is `ArtifactCorrupt`."""
    there = {str(p.relative_to(directory)) for p in _own_files(directory)} - {MANIFEST}
    for name in sorted(there ^ set(manifest.files)):
        raise ArtifactCorrupt(str(directory / name), "is missing" if name in manifest.files else "does not belong here")
    for name, digest in manifest.files.items():
        if file_digest(directory / name) != digest:
            raise ArtifactCorrupt(str(directory / name), "is not what was written")


def _own_files(directory: Path) -> Iterator[Path]:
    """Yield the files of a release; a link would let it read what is not its own, a pipe would never end."""
    for path in (directory, *sorted(directory.rglob("*"))):
        kind = path.lstat().st_mode
        if stat.S_ISREG(kind):
            yield path
        elif not stat.S_ISDIR(kind):
            raise ArtifactCorrupt(str(path), "is a link or no file at all")


def file_digest(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
