"""Fitting a whole recipe on one dataset: the sources, then what learns from them."""

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.dataset import Dataset
from models.catalogue import SOURCES
from models.config import PipelineConfig
from models.release import Models
from models.rng import derived_rng
from training.progress import ProgressReport, Quiet


def fit_models(dataset: Dataset, config: PipelineConfig, progress: ProgressReport | None = None) -> Models:
    """Fit every source that a scene asks, each with a generator derived from (seed, name), on one BLAS thread.

    The same dataset, configuration and seed give the same arrays, whatever else the run does.
    """
    progress = progress or Quiet()
    sources = {}
    with threadpool_limits(limits=1):
        for name in config.used_sources:
            with progress.step(f"fit {name}"):
                sources[name] = SOURCES[name].fit(dataset, config.source(name), derived_rng(config.seed, name))
        # The learned ranker is fitted here: it needs the dataset (for earlier cuts) and the recipe, and joins `Models`.
        return Models.of(dataset, config, sources)
