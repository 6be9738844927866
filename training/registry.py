"""The model registry: a version for each release; `champion` serves, `challenger` is the last that does not.

Everything goes through a client (`mlflow.MlflowClient`) that the tracker gives; `register_model` refuses plain
directories, so versions are created directly (seen with MLflow 3.17).
"""

from typing import Any, Final

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
RELEASE_TAG: Final = "pond.release"


def model_name(shop: str) -> str:
    """Return the registered model of a shop."""
    return f"pond-{shop}"


def register_version(client: Any, model: str, source: str, run_id: str, release_id: str, *, champion: bool) -> None:
    """Create the version of a release (once, however often it is tried) and set its alias."""
    if not client.search_registered_models(filter_string=f"name = '{model}'"):
        client.create_registered_model(model, description="Releases of a shop; the shop's pointer says what serves.")
    version = find_version(client, model, release_id)
    if version is None:
        made = client.create_model_version(model, source, run_id=run_id, tags={RELEASE_TAG: release_id})
        version = str(made.version)
    client.set_registered_model_alias(model, CHAMPION if champion else CHALLENGER, version)


def find_version(client: Any, model: str, release_id: str) -> str | None:
    """Return the version number of a release, None when it has none."""
    for version in client.search_model_versions(f"name = '{model}'"):
        if version.tags.get(RELEASE_TAG) == release_id:
            return str(version.version)
    return None


def set_champion(client: Any, model: str, release_id: str) -> bool:
    """Point `champion` at a release (after `pond promote` or `pond rollback`); False when it was never registered."""
    version = find_version(client, model, release_id)
    if version is None:
        return False
    client.set_registered_model_alias(model, CHAMPION, version)
    return True
