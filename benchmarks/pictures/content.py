"""The pictures of docs/guides/content.md.

    python -m benchmarks.pictures.content

`content-orders.svg` is drawn from benchmarks/results/quality-test.json, `content-heat.svg` from the rule itself.
"""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from models.contents.signals import FIRST_READINGS

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
DATA = "deskdrop, next article"
INK, PALE = "#1f5f8b", "#b9c9d6"
mpl.rcParams.update({"svg.hashsalt": "pond", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def draw_orders(path: Path) -> None:
    """Draw the hit rate among ten of every order that was measured."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "quality-test.json").read_text("utf-8"))["rows"]
    found = sorted((r["figures"]["hit_rate@10"], r["system"]) for r in rows if r["data"] == DATA)
    figure = Figure((6.2, 0.5 + 0.36 * len(found)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        [name for _, name in found], [value for value, _ in found],
        color=[INK if name == "pond" else PALE for _, name in found],
    )  # fmt: skip
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set(xlim=(0, 1), xlabel="the article that was read next stood among ten")
    figure.savefig(path, metadata={"Date": None})


def draw_heat(path: Path) -> None:
    """Draw the rule by which contents are ordered where nothing was learned: readings of a day by age."""
    hours = np.geomspace(0.1, 24 * 14, 200)
    figure = Figure((6.2, 2.8), layout="constrained")
    axes = figure.subplots()
    for readings, shade in ((0, 0.35), (10, 0.65), (100, 1.0)):
        worth = (readings + FIRST_READINGS) / (hours + 1.0)
        axes.plot(hours, worth, color=INK, alpha=shade)
        axes.annotate(f" {readings} readings", (hours[-1], worth[-1]), va="center", color=INK, alpha=shade)
    axes.set(xscale="log", yscale="log", xlabel="age in hours", ylabel="(readings of a day + 1) / (age + 1)")
    axes.set_xlim(0.1, hours[-1] * 4)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Draw them all."""
    GUIDES.mkdir(exist_ok=True)
    draw_heat(GUIDES / "content-heat.svg")
    draw_orders(GUIDES / "content-orders.svg")


if __name__ == "__main__":
    main()
