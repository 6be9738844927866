"""What the gates let through."""

import pytest

from features.errors import GateRefused
from training.baselines import FREQUENCY, POPULARITY
from training.evaluate import INCUMBENT, EvaluationReport, SceneReport
from training.gates import ENOUGH, judge_gates
from training.metrics import Interval, Reach
from training.settings import TrainingSettings

WORSE, EVEN, BETTER = (-0.03, -0.01), (-0.01, 0.02), (0.01, 0.03)


def report(n=50, **against):
    differences = {
        system: {f"{m}@10": Interval(mean=sum(span) / 2, low=span[0], high=span[1], n=n) for m in ("recall", "ndcg")}
        for system, span in against.items()
    }
    scene = SceneReport(
        scene="home", n_customers=50, metrics={}, coverage={}, differences=differences, slices={}, slice_sizes={},
        stage_share={}, reach=Reach(), by_length=(),
    )  # fmt: skip
    return EvaluationReport(
        protocol="time_split",
        part="test",
        horizon_days=7,
        known_until=0,
        note="",
        n_customers=50,
        scenes={"home": scene},
    )


@pytest.mark.parametrize(
    ("gate", "against", "passes"),
    [
        ("no_worse", {POPULARITY: BETTER, FREQUENCY: EVEN}, True),
        ("no_worse", {POPULARITY: BETTER, FREQUENCY: WORSE}, False),
        ("no_worse", {POPULARITY: BETTER, INCUMBENT: WORSE}, False),
        ("better", {POPULARITY: BETTER, FREQUENCY: EVEN}, False),
        ("better", {POPULARITY: BETTER, FREQUENCY: BETTER, INCUMBENT: EVEN}, True),
        ("off", {POPULARITY: WORSE}, True),
    ],
)
def test_gates(gate, against, passes):
    assert judge_gates(report(**against), TrainingSettings(gate=gate), first=False).passed is passes


@pytest.mark.parametrize("gate", ["no_worse", "better"])
def test_too_few_customers_refuse_nothing_and_the_gate_says_so(gate):
    few = report(n=ENOUGH - 1, **{POPULARITY: WORSE, FREQUENCY: EVEN})
    gates = judge_gates(few, TrainingSettings(gate=gate), first=False)
    assert gates.passed
    assert "29 customers: too few to judge" in gates.gates[0].sentence


def test_a_refusal_names_the_loss_with_its_figures():
    gates = judge_gates(report(**{FREQUENCY: WORSE, POPULARITY: BETTER}), TrainingSettings(), first=False)
    error = gates.refusal("r1")
    assert isinstance(error, GateRefused)
    assert "-0.0200 [-0.0300, -0.0100] against personal frequency, 50 customers" in str(error)
    assert "popularity" not in str(error)
    assert "pond promote r1" in str(error)


def test_the_first_release_says_so_in_its_manifest():
    facts = judge_gates(report(**{POPULARITY: BETTER}), TrainingSettings(), first=True).as_facts
    assert "promoted" in facts["first"]
    assert facts["popularity.home.recall@10"].startswith("pass")
