"""A release: the trained, versioned, immutable set of models of one shop (DESIGN §3).

    <release>/
        manifest.json      who, when, from what, how good, and a checksum of every file
        config.json        the configuration it was trained with
        histories/         the customers' product events before `as_of`
        events/<kind>/     the same for contents and bundles
        refusals/          who had switched personalization off, and when
        customers/         ids, and customers.parquet: their attributes
        products/          ids, and products.parquet: the catalogue as of training
        contents/ bundles/ the same of the other kinds of item
        sources/<name>/    each fitted source
        parts/<name>/      what is fitted beside them: contents, bundles …
        rankers/<scene>/   the learned rankers, where there was enough to learn from
        blends.json        the learned weights of sources, of scenes that no ranker orders

Everything is arrays, Parquet, JSON or a library's own text or index format; nothing can execute.
"""

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from features.consents import Refusals
from features.errors import ArtifactCorrupt, ReleaseError
from features.history import Histories
from models.artifact import load_value, save_value
from models.catalogue import PARTS, SOURCES
from models.config import PipelineConfig
from models.mount import Mount
from models.rank.blend import LearnedBlend
from models.rank.ranker import RankerModel
from models.trained import OTHER_KINDS, EntityTable, Models

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
    save_value(models.contents, directory / "contents")
    save_value(models.bundles, directory / "bundles")
    for kind, histories in models.other_histories.items():
        save_value(histories, directory / "events" / kind.name)
    for name, part in models.parts.items():
        save_value(part, directory / "parts" / name)
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
    parts = {
        name: load_value(entry.model, directory / "parts" / name)
        for name, entry in PARTS.items()
        if (directory / "parts" / name).is_dir()
    }
    models = Models(
        manifest.timezone, manifest.as_of, config,
        load_value(EntityTable, directory / "customers"), load_value(EntityTable, directory / "products"),
        load_value(Histories, directory / "histories"), sources,
        {p.name: load_value(RankerModel, p) for p in sorted((directory / "rankers").glob("*"))},
        _read_blends(directory / BLENDS), manifest.day_starts, _read_refusals(directory / "refusals"),
        _read_items(directory / "contents"), _read_items(directory / "bundles"),
        {kind: load_value(Histories, at) for kind in OTHER_KINDS if (at := directory / "events" / kind.name).is_dir()},
        parts,
    )  # fmt: skip
    return Release(directory, manifest, models, mount)


def _read_items(directory: Path) -> EntityTable:
    # A release made before contents and bundles were kept has none; of a damaged one the checksums tell.
    return load_value(EntityTable, directory) if directory.is_dir() else EntityTable.empty()


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
