"""Quality on public data through the command line: ingest, train, recommend, score.

    python -m benchmarks.quality.recommendation [--only tafeng|complete_journey|gowalla] [--folds 0,1]
        [--split test|val] [--work DIR]

Writes benchmarks/results/<data>-<split>.json: figures, seconds, peak memory, commit and the commands. Settings are the
project's defaults on every data set.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.quality.measure import Run, run, shared

RESULTS = Path(__file__).parents[1] / "results"
TARGETS = {
    "tafeng": {"recall@10": 0.170, "ndcg@10": 0.155, "phr@10": 0.485, "recall@20": 0.220},
    "complete_journey": {"recall@10": 0.190, "ndcg@10": 0.178, "phr@10": 0.620},
    "gowalla": {"recall@20": 0.193, "ndcg@20": 0.162},
}
FOLDS = {"tafeng": (0, 1, 2), "complete_journey": (0, 1, 2, 3, 4), "gowalla": (0,)}
SCENES = {"tafeng": "next_basket", "complete_journey": "next_basket", "gowalla": "discover"}


def pond(work: Path, *words: str) -> Run:
    """Call the command line with its own home."""
    name = re.sub(r"\W+", "-", "-".join(words[:2]))
    return run([sys.executable, "-m", "pond.cli.main", *words, "--home", str(work / "home")], work / f"{name}.log")


def script(name: str, *words: str) -> str:
    """Call one of the shared scripts and return what it prints."""
    command = [sys.executable, str(shared() / "eval" / f"{name}.py"), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def source_folder(data: str, work: Path) -> Path:
    """Return the benchmark's folder; the Complete Journey is built from its package."""
    if data != "complete_journey":
        return shared() / "data" / data
    if not (work / "cj").is_dir():
        script("complete_journey", str(work / "cj"))
    return work / "cj"


def measured(data: str, fold: int, split: str, work: Path) -> dict[str, float]:
    """Ingest, train, recommend and score one fold."""
    folder, files = source_folder(data, work), work / f"{data}-{fold}"
    if data == "gowalla":
        script("to_events", "topn", str(folder), str(files), "--split", split)
    else:
        script("to_events", "basket", str(folder), str(files), "--fold", str(fold), "--split", split)
    shop = f"{data.replace('_', '-')}-{fold}"
    pond(work, "shop", "create", shop)
    ingest = pond(work, "ingest", "--shop", shop, "--events", str(files / "events.parquet"))
    train = pond(work, "train", "--shop", shop)
    out = files / "out.parquet"
    answer = pond(
        work, "recommend", "--shop", shop, "--scene", SCENES[data], "--k", "20",
        "--customers", str(files / "customers.csv"), "--out", str(out),
    )  # fmt: skip
    script("to_events", "preds", str(out), str(files / "pred.json"))
    if data == "gowalla":
        truth = files / "val" if split == "val" else folder
        figures = {k.lower(): v for k, v in json.loads(script("topn", str(truth), str(files / "pred.json"))).items()}
    else:
        scored = files / "score.json"
        script(
            "nbr", str(folder), str(files / "pred.json"), "--fold", str(fold), "--split", split, "--json", str(scored)
        )
        figures = json.loads(scored.read_text())
    costs = {
        f"{name}_seconds": round(r.seconds, 1) for name, r in (("ingest", ingest), ("train", train), ("answer", answer))
    }
    return figures | costs | {"train_peak_mb": round(train.peak_mb), "answer_peak_mb": round(answer.peak_mb)}


def main() -> None:
    """Measure what is asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(TARGETS))
    parser.add_argument("--folds", default="")
    parser.add_argument("--split", choices=["test", "val"], default="test")
    parser.add_argument("--work", type=Path, help="keep intermediate files here")
    asked = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = asked.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for data, targets in TARGETS.items():
            if asked.only in (None, data):
                folds = [int(f) for f in asked.folds.split(",")] if asked.folds else FOLDS[data]
                rows = {fold: measured(data, fold, asked.split, work) for fold in folds}
                mean = {name: round(sum(r[name] for r in rows.values()) / len(rows), 5) for name in targets}
                print(data, json.dumps({"mean": mean, "must_reach": targets}), flush=True)
                table = {"commit": commit, "split": asked.split, "settings": "project defaults, seed 0"}
                # Without --work, which names a place of this machine and changes no figure.
                table |= {"command": f"python -m benchmarks.quality.recommendation --only {data} --split {asked.split}"}
                table |= {"folds": rows, "mean": mean, "must_reach": targets}
                (RESULTS / f"{data}-{asked.split}.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
