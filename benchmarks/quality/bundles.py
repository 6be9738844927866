"""Bundles for customers (Youshu) and baskets to complete (BundleRec), EVALUATION §5, through the command line.

    python -m benchmarks.quality.bundles [--only youshu|electronic|clothing] [--work DIR]

Youshu: which bundle does a customer take next; the open part has the tune split only, so that is what is scored, and
settings were chosen inside the training part. BundleRec: one product of a bundle is hidden and all products are ranked.
Beside Pond stand popularity and RP3 (Cooper et al. 2014, alpha 1), with and without the customers' products, and the
counts and words of the shared script. Adds rows to benchmarks/results/quality-test.*.
"""

import argparse
import ast
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from benchmarks.quality.measure import Run, run, shared
from benchmarks.quality.recommendation import script
from benchmarks.quality.table import Row, record

K = 20
COMMAND = "python -m benchmarks.quality.bundles"
DOMAINS = ("electronic", "clothing")
Figures = Mapping[str, float]


def pond(work: Path, *words: str) -> Run:
    """Call the command line with its own home."""
    return run([sys.executable, "-m", "pond.cli.main", *words, "--home", str(work / "home")], work / f"{words[0]}.log")


def answer_with_pond(work: Path, scene: str, customers: str) -> tuple[Path, dict[str, Run]]:
    """Ingest what the shared script wrote to `work`, train, answer; return the lists as the scorers read them."""
    files = [
        word for table in ("events", "products", "bundles") for word in (f"--{table}", str(work / f"{table}.parquet"))
    ]
    pond(work, "shop", "create", "bench", "--timezone", "UTC")
    steps = {"ingest": pond(work, "ingest", "--shop", "bench", *files)}
    steps["train"] = pond(work, "train", "--shop", "bench")
    out, lists = work / "out.parquet", work / "out.json"
    words = ("--scene", scene, "--customers", str(work / customers), "--k", str(K), "--out", str(out))
    steps["answer"] = pond(work, "recommend", "--shop", "bench", *words)
    script("to_events", "preds", str(out), str(lists))
    return lists, steps


def pairs_of(path: Path) -> np.ndarray:
    """Read a file of pairs: int [n, 2]."""
    return np.array([line.split()[:2] for line in path.read_text().splitlines() if line.strip()], np.int64)


def walk(customer_item: sp.csr_array, n_bundles: int) -> np.ndarray:
    """Score bundles by three random steps customer → item → customer → item: float64 [n_customers, n_bundles]."""

    def steps(matrix: sp.csr_array) -> sp.csr_array:
        total = np.asarray(matrix.sum(axis=1)).ravel()
        return sp.csr_array(sp.diags_array(1 / np.where(total == 0, 1, total)) @ matrix)

    back = steps(sp.csr_array(customer_item.T))
    return np.asarray((steps(customer_item) @ back @ steps(customer_item))[:, :n_bundles].todense())


def youshu_baselines(folder: Path, work: Path) -> dict[str, Figures]:
    """Score popularity and RP3 with the shared scorer."""
    taken, bought = pairs_of(folder / "user_bundle_train.txt"), pairs_of(folder / "user_item.txt")
    asked = pairs_of(folder / "user_bundle_tune.txt")
    n = int(max(taken[:, 0].max(), bought[:, 0].max(), asked[:, 0].max())) + 1
    n_bundles = int(max(taken[:, 1].max(), asked[:, 1].max())) + 1
    shape = {"bundles": (taken, n_bundles), "items": (bought, int(bought[:, 1].max()) + 1)}
    matrix = {
        name: sp.csr_array((np.ones(len(found)), (found[:, 0], found[:, 1])), shape=(n, width))
        for name, (found, width) in shape.items()
    }
    both = sp.csr_array(sp.hstack([matrix["bundles"], matrix["items"]]))
    scores = {
        "popularity": np.tile(np.asarray(matrix["bundles"].sum(axis=0)).ravel(), (n, 1)),
        "RP3 (bundles)": walk(matrix["bundles"], n_bundles), "RP3 (bundles and products)": walk(both, n_bundles),
    }  # fmt: skip
    found = {}
    for name, score in scores.items():
        score[taken[:, 0], taken[:, 1]] = -np.inf
        lists = {int(who): np.argsort(-score[who], kind="stable")[:K].tolist() for who in np.unique(asked[:, 0])}
        (work / "lists.json").write_text(json.dumps(lists))
        found[name] = json.loads(script("bundles", str(folder), str(work / "lists.json"), "--split", "tune"))
    return found


def measure_youshu(work: Path) -> None:
    """Record who ranks the bundles that customers take next how well."""
    folder, names = shared() / "data" / "youshu", (f"Recall@{K}", f"NDCG@{K}")
    script("to_events", "bundles", str(folder), str(work))
    rows = {name: (told, {}, "counts, nothing to set") for name, told in youshu_baselines(folder, work).items()}
    lists, steps = answer_with_pond(work, "bundles", "customers.csv")
    told = json.loads(script("bundles", str(folder), str(lists), "--split", "tune"))
    rows["pond"] = told, steps, "project defaults, scene bundles"
    _record("youshu, bundles for customers (tune)", rows, names)


def measure_completion(domain: str, work: Path) -> None:
    """Record who finds the hidden product of a bundle how often."""
    source, names = shared() / "data" / "bundlerec" / domain, ("HR@10", f"HR@{K}", "MRR")
    script("completion", "split", str(source), str(work))
    rows = {}
    for line in script("completion", "baselines", str(work)).splitlines():
        name, brace, told = line.partition("{")
        rows[name.strip()] = ast.literal_eval(brace + told), {}, "the shared script's"
    script("to_events", "completion", str(work), str(work))
    lists, steps = answer_with_pond(work, "cart", "customers.parquet")
    told = json.loads(script("completion", "score", str(work), str(lists)))
    rows["pond"] = told, steps, "project defaults, scene cart"
    _record(f"bundlerec {domain}, the hidden product", rows, names)


def _record(data: str, rows: Mapping[str, tuple[Figures, Mapping[str, Run], str]], names: tuple[str, ...]) -> None:
    for name, (told, steps, settings) in rows.items():
        figures = {metric.lower(): float(told[metric]) for metric in names}
        record("test", Row(data, 0, name, settings, figures, steps, COMMAND))
        print(data, name, figures, flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["youshu", *DOMAINS])
    parser.add_argument("--work", type=Path, help="keep intermediate files here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name in [asked.only] if asked.only else ["youshu", *DOMAINS]:
            work = (asked.work or Path(temporary)).absolute() / f"bundles-{name}"
            work.mkdir(parents=True, exist_ok=True)
            if name == "youshu":
                measure_youshu(work)
            else:
                measure_completion(name, work)


if __name__ == "__main__":
    main()
