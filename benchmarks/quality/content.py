"""The next article in time order (Deskdrop, EVALUATION §5), through the command line, beside what needs no model.

    python -m benchmarks.quality.content [--split test|val] [--work DIR]

Each question is answered from what anybody read strictly before it; shown may be every article that somebody has read
before and this person has not. `test` judges the last 20 % of the readings; `val` takes these off first and judges the
last 20 % of the rest: settings are chosen there. Pond is trained once, as of the first question, and answers the weeks
that follow without being trained again. Adds rows to benchmarks/results/quality-<split>.*.
"""

import argparse
import csv
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.quality.measure import Run, run, shared
from benchmarks.quality.recommendation import script
from benchmarks.quality.table import Row, record

DATA = "deskdrop, next article"
ZONE = "America/Sao_Paulo"
K = 10
DRAWS = 2000
HONEST = "popularity (half-life 1 day) divided by age"
Order = Callable[[float, float, float], float]  # (readings decayed by one day, age in hours, moment of publication)
BASELINES: Mapping[str, Order] = {
    "newest first": lambda _, __, first: first,
    "popularity, half-life 1 day": lambda readings, _, __: readings,
    HONEST: lambda readings, age, _: readings / (age + 1.0),
}


@dataclass(frozen=True)
class Reading:
    """One row of the benchmark: what was read, by whom, when (epoch s), and whether it is asked for."""

    event: int
    at: float
    who: str
    what: str
    is_asked: bool


def read_split(folder: Path) -> list[Reading]:
    """Read events.csv of the shared script."""
    with (folder / "events.csv").open() as file:
        return [
            Reading(int(r["event"]), float(r["timestamp"]), r["personId"], r["contentId"], r["split"] == "test")
            for r in csv.DictReader(file)
        ]


def baseline(readings: Sequence[Reading], order: Order) -> dict[int, list[str]]:
    """Answer every question by counts alone; ties by who was published first."""
    first: dict[str, float] = {}
    lately: dict[str, tuple[float, float]] = {}
    own: dict[str, set[str]] = {}
    answers = {}
    for one in readings:
        seen = own.setdefault(one.who, set())
        if one.is_asked:
            score = {
                what: order(count * 0.5 ** ((one.at - at) / 86_400), (one.at - first[what]) / 3_600, first[what])
                for what, (count, at) in lately.items() if what not in seen
            }  # fmt: skip
            answers[one.event] = sorted(score, key=lambda what: -score[what])[:K]
        first.setdefault(one.what, one.at)
        count, at = lately.get(one.what, (0.0, one.at))
        lately[one.what] = count * 0.5 ** ((one.at - at) / 86_400) + 1.0, one.at
        seen.add(one.what)
    return answers


def figures_of(readings: Sequence[Reading], answers: Mapping[int, Sequence[str]]) -> dict[str, np.ndarray]:
    """Return hit rate, NDCG and MRR at ten, one value for each question in order."""
    rows = []
    for one in readings:
        if one.is_asked:
            shown = list(answers.get(one.event, ()))[:K]
            place = shown.index(one.what) if one.what in shown else None
            rows.append((0.0, 0.0, 0.0) if place is None else (1.0, 1 / math.log2(place + 2), 1 / (place + 1)))
    names = (f"hit_rate@{K}", f"ndcg@{K}", f"mrr@{K}")
    return dict(zip(names, np.array(rows).T, strict=True))


def intervals(readings: Sequence[Reading], one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict:
    """Return mean differences and their 95 % intervals; persons are drawn, not questions: [difference, low, high]."""
    who = np.unique([r.who for r in readings if r.is_asked], return_inverse=True)[1]
    asked = np.bincount(who)
    found = {}
    for name in one:
        difference = one[name] - other[name]
        sums, rng = np.bincount(who, difference), np.random.default_rng(0)
        drawn = rng.integers(0, len(asked), (DRAWS, len(asked)))
        low, high = np.quantile(sums[drawn].sum(axis=1) / asked[drawn].sum(axis=1), (0.025, 0.975))
        found[name] = [round(float(x), 5) for x in (difference.mean(), low, high)]
    return found


def prepare(split: str, work: Path) -> Path:
    """Write the split and what `pond` reads; return the folder of the split."""
    source, folder = shared() / "data" / "deskdrop" / "content_deskdrop_train.csv", work / split
    if split == "val":
        rows = pl.read_csv(source, infer_schema=False).with_columns(pl.col("event").cast(pl.Int64)).sort("event")
        source = work / "earlier.csv"
        rows.head(int(0.8 * len(rows))).write_csv(source)
    script("content", "split", str(source), str(folder))
    script("to_events", "content", str(folder), str(folder))
    return folder


def pond(work: Path, *words: str) -> Run:
    """Call the command line with its own home."""
    return run([sys.executable, "-m", "pond.cli.main", *words, "--home", str(work / "home")], work / f"{words[0]}.log")


def answer_with_pond(folder: Path, work: Path) -> tuple[dict[int, list[str]], dict[str, Run], str]:
    """Ingest, train as of the first question, answer all; return answers, costs, and what training said of itself."""
    asked = pl.read_csv(folder / "customers.csv")
    pond(work, "shop", "create", "news", "--timezone", ZONE)
    files = ("--events", str(folder / "events.parquet"), "--contents", str(folder / "contents.parquet"))
    steps = {"ingest": pond(work, "ingest", "--shop", "news", *files)}
    steps["train"] = pond(work, "train", "--shop", "news", "--as-of", str(asked["at"].min()))
    out, lines = folder / "out.parquet", folder / "out.jsonl"
    words = ("--customers", str(folder / "customers.csv"), "--k", str(K), "--out", str(out))
    steps["answer"] = pond(work, "content", "--shop", "news", *words)
    script("to_events", "preds", str(out), str(lines))
    told = json.loads(script("content", "score", str(folder), str(lines)))
    answers = {row["event"]: row["items"] for row in map(json.loads, lines.open())}
    note = next((line for line in steps["train"].out.splitlines() if "order of contents" in line), "")
    readings = read_split(folder)
    mine = float(figures_of(readings, answers)[f"hit_rate@{K}"].mean())
    if abs(mine - told["HR@10"]) > 1e-4:
        raise SystemExit(f"the scorer says {told['HR@10']}, these figures {mine:.5f}.")
    return answers, steps, note.strip()


def measure(split: str, work: Path) -> None:
    """Record every order on one part."""
    folder = prepare(split, work)
    readings = read_split(folder)
    command = f"python -m benchmarks.quality.content --split {split}"
    scored = {}
    for name, order in BASELINES.items():
        scored[name] = figures_of(readings, baseline(readings, order))
        means = {metric: float(values.mean()) for metric, values in scored[name].items()}
        record(split, Row(DATA, 0, name, "counts, nothing to set", means, {}, command))
        print(split, name, means, flush=True)
    answers, steps, note = answer_with_pond(folder, work)
    mine = figures_of(readings, answers)
    means = {metric: float(values.mean()) for metric, values in mine.items()}
    against = {"system": HONEST} | intervals(readings, mine, scored[HONEST])
    record(split, Row(DATA, 0, "pond", f"project defaults; {note}", means, steps, command, against=against))
    print(split, "pond", means, against, flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=["test", "val"], default="test")
    parser.add_argument("--work", type=Path, help="keep intermediate files here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (asked.work or Path(temporary)).absolute() / f"content-{asked.split}"
        work.mkdir(parents=True, exist_ok=True)
        measure(asked.split, work)


if __name__ == "__main__":
    main()
