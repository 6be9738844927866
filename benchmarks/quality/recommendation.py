"""Quality on public data through the command line: ingest, train, recommend, score; baselines and peers beside Pond.

    python -m benchmarks.quality.recommendation [--only tafeng|complete_journey|gowalla] [--folds 0,1]
        [--split test|val] [--systems pond,baselines,implicit,rectools] [--work DIR]

Writes benchmarks/results/quality-<split>.json and .md after every system on every fold; a later run replaces only the
rows that it measures again. Pond's settings are the project's defaults on every data set; peers choose theirs on the
validation part of the first fold. RecTools needs numpy < 2, pandas < 3 and a fork of implicit of the same module name,
so it lives in an environment of its own, made from peers.txt.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.measure import Run, run, shared
from benchmarks.quality.scores import Scores, checked_scores, customer_scores, paired_intervals
from benchmarks.quality.systems import DATA, LEFT_OUT, PEERS, Data, Settings
from benchmarks.quality.table import Row, record

GROUPS = ("baselines", "pond", "implicit", "rectools")
PEER_PINS = Path(__file__).parent / "peers.txt"
ROOT = Path(__file__).parents[2]


def script(name: str, *words: str) -> str:
    """Call one of the shared scripts and return what it prints."""
    command = [sys.executable, str(shared() / "eval" / f"{name}.py"), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} {' '.join(words[:1])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


@dataclass(frozen=True)
class Fold:
    """One fold of one data set: its files, and how lists for it are scored."""

    name: str
    data: Data
    number: int
    split: str
    work: Path

    @property
    def files(self) -> Path:
        """Folder with what every system reads and what it answered."""
        return self.work / f"{self.name}-{self.number}-{self.split}"

    @property
    def source(self) -> Path:
        """The benchmark's folder; the Complete Journey is built from its package, once."""
        if self.name != "complete_journey":
            return shared() / "data" / self.name
        if not (self.work / "cj" / "keyset_4.json").is_file():
            script("complete_journey", str(self.work / "cj"))
        return self.work / "cj"

    def prepare(self) -> None:
        """Write events.parquet and customers.csv."""
        if not (self.files / "customers.csv").is_file():
            more = ("--fold", str(self.number)) if self.data.form == "basket" else ()
            script("to_events", self.data.form, str(self.source), str(self.files), "--split", self.split, *more)

    def score(self, lists: Path) -> dict[str, float]:
        """Return the scorer's figures for a file of lists."""
        if self.data.form == "topn":
            return {k.lower(): v for k, v in json.loads(script("topn", str(self._topn_folder()), str(lists))).items()}
        out = lists.with_suffix(".score")
        fold = ("--fold", str(self.number), "--split", self.split)
        script("nbr", str(self.source), str(lists), *fold, "--json", str(out))
        found: dict[str, float] = json.loads(out.read_text("utf-8"))
        return found

    def scores(self, lists: Path, figures: dict[str, float]) -> Scores:
        """Return per-customer figures, whose means are the scorer's."""
        answered = {str(who): items for who, items in json.loads(lists.read_text("utf-8")).items()}
        cut = self.data.form == "topn"
        return checked_scores(customer_scores(self._truth(), answered, self.data.lengths, cut_ideal=cut), figures)

    def _topn_folder(self) -> Path:
        return self.files / "val" if self.split == "val" else self.source

    def _truth(self) -> dict[str, list[int]]:
        if self.data.form == "topn":
            rows = ([int(x) for x in line.split()] for line in (self._topn_folder() / "test.txt").open())
            return {str(row[0]): row[1:] for row in rows if len(row) > 1}
        future = json.loads((self.source / "future.json").read_text("utf-8"))
        keys = json.loads((self.source / f"keyset_{self.number}.json").read_text("utf-8"))[self.split]
        baskets = {str(who): [b for b in future[str(who)] if b != [-1]] for who in keys}
        return {who: found[0] for who, found in baskets.items()}


@dataclass
class Bench:
    """Runs systems and keeps what they share in one invocation."""

    work: Path

    def measure(self, fold: Fold, groups: list[str]) -> Iterator[str]:
        """Measure the systems of a fold one after the other; yield the name of each that failed."""
        fold.prepare()
        jobs: list[tuple[str, Any]] = []
        if "baselines" in groups:
            jobs += [(name, lambda n=name: self._baseline(fold, n)) for name in fold.data.baselines]
        if "pond" in groups:
            jobs.append(("pond", lambda: self._pond(fold)))
        for name in PEERS:
            if name.split()[0].lower() in groups:
                jobs.append((name, lambda n=name: self._peer(fold, n)))
        for name, job in jobs:
            try:
                job()
            except (SystemExit, Exception):  # noqa: BLE001 # one system's failure must not lose the others' hours
                traceback.print_exc()
                yield f"{fold.name} {fold.number} {name}"

    def _record(self, fold: Fold, system: str, settings: str, lists: Path, steps: dict[str, Run], **more: Any) -> None:
        figures = fold.score(lists)
        command = (
            f"python -m benchmarks.quality.recommendation --only {fold.name} --folds {fold.number} --split {fold.split}"
        )
        record(fold.split, Row(fold.name, fold.number, system, settings, figures, steps, command, **more))
        shown = {name: round(value, 4) for name, value in figures.items() if name in fold.data.targets}
        print(fold.name, fold.number, fold.split, system, settings, shown, flush=True)

    def _counted(self, fold: Fold, name: str) -> tuple[Path, Run]:
        out = fold.files / f"{name}.json"
        words = ("-m", "benchmarks.quality.baselines", name, str(fold.files), str(out))
        return out, run([sys.executable, *words], fold.files / f"{name}.log", {"PYTHONPATH": str(ROOT)})

    def _baseline(self, fold: Fold, name: str) -> None:
        out, cost = self._counted(fold, name)
        self._record(fold, name, "counts, nothing to set", out, {"whole": cost})

    def _pond(self, fold: Fold) -> None:
        shop = f"{fold.name.replace('_', '-')}-{fold.number}-{fold.split}"
        answers, lists = fold.files / "out.parquet", fold.files / "pond.json"
        with tempfile.TemporaryDirectory(dir=fold.files) as home:
            pond = _Pond(Path(home), fold.files)
            pond.call("shop", "create", shop)
            steps = {"ingest": pond.call("ingest", "--shop", shop, "--events", str(fold.files / "events.parquet"))}
            steps["train"] = pond.call("train", "--shop", shop)
            steps["answer"] = pond.call(
                "recommend", "--shop", shop, "--scene", fold.data.scene, "--k", "20",
                "--customers", str(fold.files / "customers.csv"), "--out", str(answers),
            )  # fmt: skip
        script("to_events", "preds", str(answers), str(lists))
        honest, _ = self._counted(fold, fold.data.honest)
        mine, other = (fold.scores(path, fold.score(path)) for path in (lists, honest))
        against = {"system": fold.data.honest} | paired_intervals(mine, other)
        self._record(fold, "pond", f"project defaults, scene {fold.data.scene}", lists, steps, against=against)

    def _peer(self, fold: Fold, name: str) -> None:
        if (fold.name, name) in LEFT_OUT:
            print(fold.name, name, "is left out:", LEFT_OUT[fold.name, name], flush=True)
            return
        settings, best, tried = self._chosen(fold, name)
        lists, cost = self._answered(fold, name, settings)
        told = json.dumps({key: value for key, value in settings.items() if key != "model"})
        how = f"best of {tried} on validation ({fold.data.chosen_by} {best:.4f})" if tried > 1 else "nothing chosen"
        self._record(fold, name, f"{told}, {how}", lists, {"whole": cost})

    def _chosen(self, fold: Fold, name: str) -> tuple[Settings, float, int]:
        """Try a peer's settings on the validation part of the first fold, once for all folds of this work folder."""
        if len(PEERS[name]) == 1:
            return PEERS[name][0], 0.0, 1
        kept = self.work / f"chosen-{fold.name}-{_plain(name)}.json"
        if not kept.is_file():
            first = Fold(fold.name, fold.data, fold.data.folds[0], "val", self.work)
            first.prepare()
            tried = [(first.score(self._answered(first, name, s)[0])[fold.data.chosen_by], s) for s in PEERS[name]]
            best = max(tried, key=lambda pair: pair[0])
            kept.write_text(json.dumps({"best": best, "tried": tried}, indent=1), "utf-8")
        value, settings = json.loads(kept.read_text("utf-8"))["best"]
        return settings, value, len(PEERS[name])

    def _answered(self, fold: Fold, name: str, settings: Settings) -> tuple[Path, Run]:
        out = fold.files / f"{_plain(name)}.json"
        python = self._rectools_python() if name.startswith("RecTools") else sys.executable
        words = ["-m", "benchmarks.quality.peers", json.dumps(settings), str(fold.files), str(out)]
        new = ["--new"] if fold.data.form == "topn" else []
        environ = (
            {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
            if python == sys.executable
            else {"PYTHONPATH": str(ROOT)}
        )
        return out, run([python, *words, *new], fold.files / f"{_plain(name)}.log", environ)

    def _rectools_python(self) -> str:
        """Return the interpreter of the peers' environment, made when it is not there or its pins changed."""
        place = self.work / "peers"
        python, ready = place / "bin" / "python", place / ".pins"
        if not ready.is_file() or ready.read_text("utf-8") != PEER_PINS.read_text("utf-8"):
            run([sys.executable, "-m", "venv", "--clear", str(place)], self.work / "peers.log")
            pip = ("-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--require-hashes")
            run([str(python), *pip, "-r", str(PEER_PINS)], self.work / "peers.log")
            ready.write_text(PEER_PINS.read_text("utf-8"), "utf-8")
        return str(python)


@dataclass(frozen=True)
class _Pond:
    """The command line with a home of its own."""

    home: Path
    logs: Path

    def call(self, *words: str) -> Run:
        """Run one command to its end."""
        command = [sys.executable, "-m", "pond.cli.main", *words, "--home", str(self.home)]
        return run(command, self.logs / f"pond-{words[0]}.log", {"PYTHONPATH": str(ROOT)})


def _plain(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower())


def main() -> None:
    """Measure what is asked for; everything that failed is named at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(DATA))
    parser.add_argument("--folds", default="", help="such as 0,1; default: all that EVALUATION names")
    parser.add_argument("--split", choices=["test", "val"], default="test")
    parser.add_argument("--systems", default=",".join(GROUPS), help="of " + ", ".join(GROUPS))
    parser.add_argument("--work", type=Path, help="keep files, the peers' environment and their choices here")
    asked = parser.parse_args()
    groups = asked.systems.split(",")
    unknown = set(groups) - set(GROUPS)
    folds = [int(number) for number in asked.folds.split(",") if number]
    names = [asked.only] if asked.only else list(DATA)
    wrong = [f"{name} {number}" for name in names for number in folds if number not in DATA[name].folds]
    if unknown or wrong:
        parser.error(f"not known: {', '.join([*sorted(unknown), *wrong])}; name --only with --folds.")
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench((asked.work or Path(temporary)).absolute())
        bench.work.mkdir(parents=True, exist_ok=True)
        for name in names:
            for number in folds or DATA[name].folds:
                fold = Fold(name, DATA[name], number, asked.split, bench.work)
                failed += bench.measure(fold, groups)
    if failed:
        raise SystemExit(f"not measured: {', '.join(failed)}; the reasons stand above, all other rows are written.")


if __name__ == "__main__":
    main()
