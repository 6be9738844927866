"""A shop's files beside its lake, and its releases: cleaned of a person, or of whom an old process brought back."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from features import columns as c
from features.erasure import FILE, read_erased
from features.person import Person
from features.scrub import files_below, scrub_file, still_named
from features.shop import Shop
from models.release import load_release
from models.release_store import DirectoryStore
from models.revision import resume, revise
from service.unfinished import folder_of

UNMOUNT_SECONDS: Final = 30.0
LOCK: Final = ".erase.lock"  # one erasure of a shop at a time


@dataclass(frozen=True, slots=True)
class FilesOf:
    """The files of one shop under a home; needs no state server and no control database."""

    home: Path
    shop: Shop

    @property
    def store(self) -> DirectoryStore:
        """The shop's releases."""
        return DirectoryStore(self.shop.releases_dir)

    def loose(self) -> list[Path]:
        """Every file of the shop outside lake, releases and notes of erasures, and the home's logs."""
        apart = [self.shop.lake_dir, self.shop.releases_dir, self.shop.config_file, folder_of(self.shop)]
        found = list(files_below(self.shop.root, apart))
        found += [*files_below(self.home / "logs"), *(self.home / "state").glob("*.log")]
        return [path for path in found if not path.name.startswith(".") and path.name != FILE]

    def clean(self, person: Person) -> int:
        """Take a person out of the loose files; return how many rows, lines and words that were."""
        return sum(scrub_file(path, person) for path in self.loose())

    def revise(self, ids: Iterable[str]) -> int:
        """Replace every release that holds a person, or anybody ever erased; return how many.

        A revision is made of the release it replaces, which an erasure that was interrupted may not have reached.
        """
        self.store.sweep_unfinished()
        wanted = {*ids, *self._brought_back_to_releases()}
        replaced = resume(self.store)
        others = [m.release_id for m in self.store.list() if m.release_id not in replaced]
        return len(replaced) + sum(revise(self.store, one, wanted) is not None for one in others)

    def brought_back(self) -> list[str]:
        """Return erased customers whom releases or kept embeddings hold: a training that began before wrote them."""
        erased, found = read_erased(self.shop), self._brought_back_to_releases()
        for path in self.loose() if erased.digests else ():
            if path.suffix == ".parquet" and c.CUSTOMER_ID in pl.read_parquet_schema(path):
                found |= {*erased.among(pl.read_parquet(path, columns=[c.CUSTOMER_ID])[c.CUSTOMER_ID].to_list())}
        return sorted(found)

    def _brought_back_to_releases(self) -> set[str]:
        erased = read_erased(self.shop)
        if not erased.digests:
            return set()
        found = set()
        for manifest in self.store.list():
            models = load_release(self.store.root / manifest.release_id).models
            found |= {*erased.among([*models.customers.ids.texts, *models.refusals.ids.texts])}
        return found

    def remove_superseded(self) -> list[str]:
        """Delete the releases that revisions took the place of, once nobody has them mounted; say which wait."""
        there = {manifest.release_id: manifest for manifest in self.store.list()}
        old = {manifest.revision_of for manifest in there.values()} & there.keys()
        return [
            f"The former release {release_id} is still in use by a running process."
            for release_id in sorted(old)
            if not self.store.remove(release_id, UNMOUNT_SECONDS)
        ]

    def still_naming(self, person: Person, aof: Path | None = None) -> list[str]:
        """Look once more, as bytes, at what was cleaned and at the state server's files; say what names a person."""
        paths = self.loose() + (sorted(aof.iterdir()) if aof is not None else [])
        return [f"{path} still names the customer." for path in still_named(paths, person)]
