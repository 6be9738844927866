"""A person out of MLflow: rows of the embeddings, words in reports and tags; through the client, wherever the store is.

What is changed is written back under the same name. Versions that an object store keeps of overwritten files, and a
server's own database, are the operator's: their retention is set there.
"""

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from features.errors import ServiceUnreachable
from features.person import ERASED, Person
from features.scrub import TEXTS, scrub_file
from training.registry import RELEASE_TAG, model_name
from training.tracking import MlflowTracker

ALL_RUNS: Final = 3  # mlflow.entities.ViewType.ALL: deleted runs keep their files, too
PAGE: Final = 200


def forget_in_tracker(tracker: MlflowTracker, shop: str, person: Person, revisions: Mapping[str, str]) -> int:
    """Take a person out of everything a shop's runs keep; return how many rows, words and tags that were.

    `revisions` says which release took which one's place: the registry's versions follow.

    Raises
    ------
    ServiceUnreachable
        The tracker does not answer or refuses; what was done stays done, and asking again is right.
    """
    try:
        gone = _forget(tracker.client, shop, person)
        _follow(tracker.client, model_name(shop), revisions)
    except Exception as error:  # whatever the tracker's library raises means: not done yet
        lines = str(error).splitlines() or [type(error).__name__]
        raise ServiceUnreachable(
            f"MLflow at {tracker.uri} could not be rid of the customer ({lines[0][:200]}); run the command again."
        ) from error
    if tracker.uri.startswith("sqlite:///"):
        _vacuum(Path(tracker.uri.removeprefix("sqlite:///")))
    return gone


def _forget(client: Any, shop: str, person: Person) -> int:
    experiment = client.get_experiment_by_name(f"pond/{shop}")
    if experiment is None:
        return 0
    gone = 0
    for run in _runs(client, experiment.experiment_id):
        for name, value in run.data.tags.items():
            if person.pattern.search(value):
                client.set_tag(run.info.run_id, name, person.pattern.sub(ERASED, value))
                gone += 1
        for path in _files(client, run.info.run_id, ""):
            gone += _scrub(client, run.info.run_id, path, person)
    return gone


def _runs(client: Any, experiment_id: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment_id], run_view_type=ALL_RUNS, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _files(client: Any, run_id: str, folder: str) -> Iterator[str]:
    for one in client.list_artifacts(run_id, folder or None):
        if one.is_dir:
            yield from _files(client, run_id, one.path)
        elif Path(one.path).suffix in TEXTS | {".parquet"}:
            yield one.path


def _scrub(client: Any, run_id: str, path: str, person: Person) -> int:
    with tempfile.TemporaryDirectory(prefix="pond-forget-") as scratch:
        local = Path(client.download_artifacts(run_id, path, scratch))
        gone = scrub_file(local, person)
        if gone:
            client.log_artifact(run_id, str(local), str(Path(path).parent) if "/" in path else None)
    return gone


def _follow(client: Any, model: str, revisions: Mapping[str, str]) -> None:
    for version in client.search_model_versions(f"name = '{model}'"):
        release = known = version.tags.get(RELEASE_TAG, "")
        while release in revisions:
            release = revisions[release]
        if release != known:
            client.set_model_version_tag(model, version.version, RELEASE_TAG, release)


def _vacuum(database: Path) -> None:
    """Leave no page of before in the tracker's own file."""
    if not database.exists():
        return
    with sqlite3.connect(database, timeout=30, isolation_level=None) as connection:
        connection.execute("VACUUM")
    connection.close()
