"""The table of measurements: one JSON of rows that separate runs add to, and the same as Markdown."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.quality.measure import Run

RESULTS = Path(__file__).parents[1] / "results"
KEY = ("data", "fold", "system")


@dataclass(frozen=True)
class Row:
    """One system on one fold: its figures and what each step of it cost.

    Attributes
    ----------
    steps : mapping of str to Run
        Seconds and peak memory of each step, in the order in which they ran.
    against : mapping of str to object
        Paired 95 % intervals of the differences to another system: {"system": …, metric: [difference, low, high]}.
    """

    data: str
    fold: int
    system: str
    settings: str
    figures: Mapping[str, float]
    steps: Mapping[str, Run]
    command: str
    seed: int = 0
    against: Mapping[str, Any] = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """Return the row as JSON holds it, with the commit and the machine of this run."""
        steps = {name: {"seconds": round(r.seconds, 1), "peak_mb": round(r.peak_mb)} for name, r in self.steps.items()}
        return {
            "data": self.data, "fold": self.fold, "system": self.system, "settings": self.settings, "seed": self.seed,
            "figures": {name: round(float(value), 5) for name, value in self.figures.items()},
            "against": dict(self.against), "steps": steps, "commit": commit(), "command": self.command,
            "machine": machine(),
        }  # fmt: skip


def commit() -> str:
    """Return the short commit that is measured, with `+` when tracked code differs from it.

    `POND_COMMIT` names it where the code stands without its repository.
    """
    if os.environ.get("POND_COMMIT"):
        return os.environ["POND_COMMIT"]
    here = Path(__file__).parents[2]
    name = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, cwd=here)
    rooms = ["features", "models", "training", "service", "pond", "benchmarks/quality"]
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *rooms], check=False, cwd=here).returncode
    return name.stdout.strip() + ("+" if changed else "")


def machine() -> str:
    """Describe the machine without naming it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GB, {platform.machine()}, Python {platform.python_version()}"


def record(split: str, row: Row, results: Path = RESULTS) -> None:
    """Put a row in place of an earlier one of the same data, fold and system; write JSON and Markdown at once."""
    results.mkdir(exist_ok=True)
    path = results / f"quality-{split}.json"
    rows = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    new = row.written()
    rows = [old for old in rows if any(old[name] != new[name] for name in KEY)] + [new]
    rows.sort(key=lambda r: tuple(r[name] for name in KEY))
    _replace(path, json.dumps({"split": split, "rows": rows}, indent=1, ensure_ascii=False) + "\n")
    _replace(path.with_suffix(".md"), as_markdown(split, rows))


def _replace(path: Path, text: str) -> None:
    """Write so that a reader, or a run that is cut off, never leaves half a file."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, "utf-8")
    part.replace(path)


def as_markdown(split: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as tables, one for each data set: means over folds, then paired intervals fold by fold."""
    lines = [
        f"# Quality, {split} part", "",
        "Written by `make bench-quality`; every row in the JSON beside this file has its commit, command and machine.",
        "Figures are means over the folds named. Time is the wall time and memory the peak of the step, all its",
        "processes together, mean over folds; intervals are 95 % customer bootstraps (2,000 draws), paired.", "",
    ]  # fmt: skip
    for data in sorted({row["data"] for row in rows}):
        mine = [row for row in rows if row["data"] == data]
        lines += [f"## {data}", "", *_figures(mine), "", *_intervals(mine), *_settings(mine)]
    return "\n".join(lines).rstrip() + "\n"


def _by_system(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    systems: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        systems.setdefault(row["system"], []).append(row)
    return systems


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row["figures"] if "@" in name))
    lines = [f"| system | folds | {' | '.join(names)} | steps: seconds, peak MB |", "|---" * (len(names) + 3) + "|"]
    means = {
        system: {name: _mean([r["figures"].get(name) for r in own]) for name in names}
        for system, own in _by_system(rows).items()
    }
    for system, own in sorted(_by_system(rows).items(), key=lambda item: -(means[item[0]][names[0]] or 0.0)):
        cells = ["–" if means[system][name] is None else f"{means[system][name]:.4f}" for name in names]
        folds = ", ".join(str(row["fold"]) for row in own)
        lines.append(f"| {system} | {folds} | {' | '.join(cells)} | {_costs(own)} |")
    return lines


def _costs(rows: Sequence[Mapping[str, Any]]) -> str:
    told = []
    for step in rows[0]["steps"]:
        seconds, peak = (
            _mean([row["steps"].get(step, {}).get(unit) for row in rows]) for unit in ("seconds", "peak_mb")
        )
        told.append(f"{step} {seconds:.0f} s, {peak:,.0f}")
    return "; ".join(told)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _intervals(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    compared = [row for row in rows if row["against"]]
    if not compared:
        return []
    names = [name for name in compared[0]["against"] if name != "system"]
    lines = [f"| fold | difference | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for row in compared:
        cells = ["{:+.4f} [{:+.4f}, {:+.4f}]".format(*row["against"][name]) for name in names]
        lines.append(f"| {row['fold']} | {row['system']} − {row['against']['system']} | {' | '.join(cells)} |")
    return [*lines, ""]


def _settings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for system, own in _by_system(rows).items():
        settings = "; ".join(dict.fromkeys(row["settings"] for row in own))
        lines.append(f"- {system}: {settings} (commit {', '.join(sorted({row['commit'] for row in own}))})")
    return [*lines, *(f"- {text}" for text in sorted({f"machine: {row['machine']}" for row in rows})), ""]
