"""Pictures of a run for people: PNG files drawn without a display and without global state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # ships no types

from features.arrays import Float32s, Float64s, Int32s
from models.rank.ranker import RankerModel
from models.trained import Models
from training.baselines import FREQUENCY, POPULARITY
from training.canvas import save_figure
from training.evaluate import INCUMBENT, POND, EvaluationReport, LengthRow, SceneReport
from training.metrics import Reach
from training.publish import ProductVectors

INK, FAINT, PAPER = "#22303c", "#d9dee3", "#ffffff"
COLOURS: Final[Mapping[str, str]] = {POND: "#0b6e74", FREQUENCY: "#e08e3c", POPULARITY: "#9aa5ae", INCUMBENT: "#7a5ea8"}
LABELS: Final[Mapping[str, str]] = {
    POND: "Pond", FREQUENCY: "personal frequency", POPULARITY: "popularity", INCUMBENT: "serving release",
}  # fmt: skip
# Okabe & Ito's colours and neighbours: told apart by colour-blind eyes too.
PALETTE: Final = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#7a5ea8", "#8c564b", "#4d4d4d",
)  # fmt: skip
OTHERS: Final = "#c9d0d6"
MAP_ITEMS: Final = 1500
MAP_STEPS: Final = 500
MAP_SOURCES: Final = ("als", "hybrid", "content_based")


def draw_report(report: EvaluationReport, directory: Path) -> list[Path]:
    """Draw the pictures of an evaluation below `directory` (created); returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {
        "recall_by_history.png": _recall_by_history(report),
        "repeat_explore.png": _repeat_explore(report),
        "coverage_popularity.png": _coverage_popularity(report),
        "sources.png": _sources(report),
    }
    return [save_figure(figure, directory / name) for name, figure in drawn.items()]


def draw_product_map(
    models: Models, n_baskets: "np.ndarray[Any, np.dtype[np.int64]]", path: Path, seed: int
) -> Path | None:
    """Draw the most bought products (≤ 1,500) where their embeddings put them, coloured by department.

    t-SNE (van der Maaten, Hinton 2008) of unit vectors, from their principal axes; None without embeddings or with
    fewer than ten products that have one.
    """
    known = [models.sources[n] for n in MAP_SOURCES if n in models.sources]
    placed: list[Float32s] = [source.items for source in known if isinstance(source, ProductVectors)]
    if not placed:
        return None
    order = np.argsort(-n_baskets, kind="stable")[:MAP_ITEMS]
    vectors = placed[0][order]
    length = np.linalg.norm(vectors, axis=1)
    there = (length > 0) & (n_baskets[order] > 0)
    if there.sum() < 10 or vectors.shape[1] < 2:
        return None
    places = _flattened(vectors[there] / length[there, None], seed)
    department = models.items.families(order[there].astype(np.int32), 1)
    names = {int(g): p.split("/")[0] for g, p in zip(models.items.ancestors[0], models.items.paths, strict=False)}
    return save_figure(_map_figure(places, department, names, n_baskets[order[there]]), path)


def _flattened(vectors: Float32s, seed: int) -> Float64s:
    with threadpool_limits(limits=1):
        axes = PCA(min(30, *vectors.shape), random_state=seed, svd_solver="full").fit_transform(vectors)
        perplexity = min(30.0, (len(vectors) - 1) / 3)
        found: Float64s = TSNE(
            perplexity=perplexity, init="pca", max_iter=MAP_STEPS, random_state=seed, n_jobs=1
        ).fit_transform(axes)
    return found


def _map_figure(
    places: Float64s, department: Int32s, names: Mapping[int, str], weight: "np.ndarray[Any, Any]"
) -> Figure:
    figure = Figure((10.5, 7.4), facecolor=PAPER, layout="constrained")
    axes = figure.subplots()
    size = 10 + 90 * np.sqrt(weight / weight.max())
    groups, counts = np.unique(department[department >= 0], return_counts=True)
    largest = groups[np.argsort(-counts, kind="stable")][: len(PALETTE)]
    rest = ~np.isin(department, largest)
    axes.scatter(
        places[rest, 0], places[rest, 1], s=size[rest], c=OTHERS, lw=0, alpha=0.7, label=f"other ({rest.sum():,})"
    )
    for colour, group in zip(PALETTE, largest, strict=False):
        inside = department == group
        label = f"{names.get(int(group), '?').capitalize()} ({inside.sum():,})"
        axes.scatter(
            places[inside, 0],
            places[inside, 1],
            s=size[inside],
            c=colour,
            lw=0.3,
            edgecolors=PAPER,
            alpha=0.8,
            label=label,
        )
    _title(
        axes,
        "Map of the products",
        f"{len(places):,} most bought; near means bought by the same customers; size: baskets",
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    legend = axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, title="department", labelcolor=INK, fontsize=9
    )
    for handle in legend.legend_handles:
        handle.set_sizes([50])  # type: ignore[union-attr] # a scatter's handle has sizes
    return figure


def draw_rankers(rankers: Mapping[str, RankerModel], directory: Path) -> list[Path]:
    """Draw what each ranker looks at: its features by share of the gain, the 25 greatest."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for scene, ranker in rankers.items():
        shares = list(ranker.importance().items())[:25][::-1]
        figure = Figure((8.6, 6.8), facecolor=PAPER, layout="constrained")
        axes = figure.subplots()
        values = [100 * share for _, share in shares]
        axes.barh([name.replace("_", " ") for name, _ in shares], values, 0.7, color=COLOURS[POND])
        _plain(axes, "x")
        _title(axes, f"What the ranker of {_words(scene)} looks at", "% of the gain, mean over its forests")
        drawn.append(save_figure(figure, directory / f"ranker_{scene}.png"))
    return drawn


def _recall_by_history(report: EvaluationReport) -> Figure:
    scenes = [s for name in ("home", "next_basket") if (s := report.scenes.get(name))] or list(report.scenes.values())[
        :2
    ]
    figure = Figure((5.6 * max(len(scenes), 1), 4.3), facecolor=PAPER, layout="constrained")
    for axes, scene in zip(np.atleast_1d(figure.subplots(1, max(len(scenes), 1), sharey=True)), scenes, strict=False):
        at = np.arange(len(scene.by_length))
        for system in scene.metrics:
            recall = [row.recall[system] for row in scene.by_length]
            axes.plot(
                at, recall, "o-", c=COLOURS[system], lw=2.2 if system == POND else 1.6, ms=5, label=LABELS[system]
            )
        axes.set_xticks(at, [f"{_length(row)}\nn={row.n:,}" for row in scene.by_length], fontsize=8)
        axes.set_xlabel("baskets known before", color=INK)
        _title(axes, _words(scene.scene), f"recall@{_least_k(scene)} by length of history")
        _plain(axes)
    # Last: a limit set before all is drawn would freeze the shared axis at the first scene's height.
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
    _legend_below(figure)
    return figure


def _repeat_explore(report: EvaluationReport) -> Figure:
    scenes = [s for s in report.scenes.values() if s.scene not in ("discover", "rebuy")] or list(report.scenes.values())
    figure = Figure((5.6 * len(scenes), 4.3), facecolor=PAPER, layout="constrained")
    metrics = {"recall_repeat": "recall of what was\nbought before", "recall_explore": "recall of what\nis new to them",
               "repeat_share": "share of places with\nwhat was bought before"}  # fmt: skip
    for axes, scene in zip(np.atleast_1d(figure.subplots(1, len(scenes), sharey=True)), scenes, strict=True):
        _bars(axes, scene, [f"{name}@{_least_k(scene)}" for name in metrics], list(metrics.values()))
        _title(axes, _words(scene.scene), f"again and new, first {_least_k(scene)} places")
    _legend_below(figure)
    return figure


def _bars(axes: Axes, scene: SceneReport, metrics: Sequence[str], labels: Sequence[str]) -> None:
    systems = list(scene.metrics)
    width = 0.8 / len(systems)
    for number, system in enumerate(systems):
        found = [scene.metrics[system][metric] for metric in metrics]
        at = np.arange(len(metrics)) + (number - (len(systems) - 1) / 2) * width
        height = [f.mean for f in found]
        error = [[f.mean - f.low for f in found], [f.high - f.mean for f in found]]
        axes.bar(at, height, width * 0.92, color=COLOURS[system], label=LABELS[system])
        axes.errorbar(at, height, error, fmt="none", ecolor=INK, elinewidth=0.9)
        for x, f in zip(at, found, strict=True):
            axes.annotate(
                f"{f.mean:.2f}", (x, f.high), (0, 3), textcoords="offset points", ha="center", fontsize=7, color=INK
            )
    axes.set_xticks(np.arange(len(metrics)), labels, fontsize=8)
    _plain(axes)


def _coverage_popularity(report: EvaluationReport) -> Figure:
    figure = Figure((11.2, 4.3), facecolor=PAPER, layout="constrained")
    left, right = figure.subplots(1, 2)
    scenes = list(report.scenes.values())
    systems = list(dict.fromkeys(name for scene in scenes for name in scene.metrics))
    width = 0.8 / len(systems)
    for number, system in enumerate(systems):
        at = np.arange(len(scenes)) + (number - (len(systems) - 1) / 2) * width
        covered = [100 * s.coverage[system][f"coverage@{_least_k(s)}"] for s in scenes]
        popular = [100 * s.metrics[system][f"popularity@{_least_k(s)}"].mean for s in scenes]
        for axes, height in ((left, covered), (right, popular)):
            axes.bar(at, height, width * 0.92, color=COLOURS[system], label=LABELS[system])
            for x, y in zip(at, height, strict=True):
                text = f"{y:.1f}" if y >= 0.1 else f"{y:.2f}"
                axes.annotate(text, (x, y), (0, 2), textcoords="offset points", ha="center", fontsize=7, color=INK)
    k = _least_k(scenes[0])
    _title(left, "Coverage", f"% of the showable products that anybody sees in the first {k} places")
    _title(right, "Popularity of what is shown", "% of customers who bought the average product shown")
    for axes in (left, right):
        axes.set_xticks(np.arange(len(scenes)), [_words(s.scene) for s in scenes], fontsize=9)
        _plain(axes)
    _legend_below(figure)
    return figure


def _sources(report: EvaluationReport) -> Figure:
    figure = Figure((11.2, 4.3), facecolor=PAPER, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    scenes = list(report.scenes.values())[::-1]
    names = list(dict.fromkeys(n for s in scenes[::-1] for n in (*s.reach.alone, *s.stage_share)))
    colours = dict(zip(names, (*PALETTE, *[OTHERS] * len(names)), strict=False))
    height = 0.8 / max(len(s.reach.alone) + 1 for s in scenes)
    for row, scene in enumerate(scenes):
        start = 0.0
        for name in names:
            share = 100 * scene.stage_share.get(name, 0.0)
            left.barh(row, share, 0.62, left=start, color=colours[name], label=name if row == 0 else None)
            if share >= 4:
                left.text(start + share / 2, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=PAPER)
            start += share
        _reach_bars(right, scene.reach, row, height, colours)
    _title(left, "Who fills the places", "% of the places, by the source that speaks most for the item")
    _title(
        right,
        "What each source finds",
        "% of the truth among its candidates (dark: found by no other), and of all together",
    )
    left.set_yticks(np.arange(len(scenes)), [_words(s.scene) for s in scenes], fontsize=9)
    left.set_xlim(0, 100)
    for axes in (left, right):
        _plain(axes, grid="x")
    _legend_below(figure)
    return figure


def _reach_bars(axes: Axes, reach: Reach, row: int, height: float, colours: Mapping[str, str]) -> None:
    bars = [(name, 100 * found, 100 * reach.added[name]) for name, found in reach.alone.items()]
    bars.append(("", 100 * reach.together, 0.0))
    for number, (name, found, added) in enumerate(bars):
        at = row - (number - (len(bars) - 1) / 2) * height
        axes.barh(at, found, height * 0.9, color=colours[name] if name else OTHERS)
        axes.barh(at, added, height * 0.9, color=INK)
        text = f"{found:.0f} (+{added:.1f})" if name else f"{found:.0f} together"
        axes.annotate(text, (found, at), (3, 0), textcoords="offset points", va="center", fontsize=7, color=INK)


def _title(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=24)
    # In points, not in parts of the axes: the same distance in a tall picture and in a flat one.
    axes.annotate(
        below, (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", fontsize=9, color="#5a6872"
    )


def _plain(axes: Axes, grid: Any = "y") -> None:
    for side in ("top", "right", "left" if grid == "y" else "bottom"):
        axes.spines[side].set_visible(False)
    axes.grid(axis=grid, color=FAINT, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)


def _legend_below(figure: Figure) -> None:
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        entries |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=min(len(entries), 8), frameon=False,
        labelcolor=INK, fontsize=9,
    )  # fmt: skip


def _least_k(scene: SceneReport) -> int:
    return min(int(name.partition("@")[2]) for name in scene.metrics[POND])


def _length(row: LengthRow) -> str:
    if row.high is None:
        return f"{row.low}+"
    return str(row.low) if row.low == row.high else f"{row.low}–{row.high}"


def _words(scene: str) -> str:
    return scene.replace("_", " ")
