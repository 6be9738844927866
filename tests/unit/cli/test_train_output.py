"""What `pond train` says at its end, also to who asked for quiet."""

import pytest

from pond.cli.session import Session
from pond.cli.train import _show_training
from tests.unit.training.test_gates import EVEN, report
from training.baselines import POPULARITY
from training.evaluate import nothing_judged
from training.gates import ENOUGH, judge_gates
from training.run import TrainReport
from training.settings import TrainingSettings

LEARNED = {"discover": "12 answered questions, fewer than 300: the blend orders 'discover'"}


def said(tmp_path, capsys, n, *, quiet=True):
    gates = judge_gates(report(n=n, **{POPULARITY: EVEN}), TrainingSettings(), first=True)
    made = TrainReport.model_construct(
        release_id="r1", promoted=True, evaluation=nothing_judged("judged elsewhere", 0), gates=gates, seconds={},
        warnings=("nothing to compare with",), rankers=LEARNED, run_dir="runs/r1",
    )  # fmt: skip
    _show_training(Session.of(tmp_path, {}, quiet=quiet), made)
    return capsys.readouterr().out


@pytest.mark.parametrize("quiet", [True, False])
def test_where_the_ranker_stepped_back_is_a_result_and_not_progress(tmp_path, capsys, quiet):
    shown = said(tmp_path, capsys, 50, quiet=quiet)
    assert "order of discover: 12 answered questions, fewer than 300: the blend orders 'discover'" in shown
    assert "note: nothing to compare with" in shown


def test_gates_without_customers_enough_are_not_said_to_be_passed(tmp_path, capsys):
    shown = said(tmp_path, capsys, ENOUGH - 1)
    assert "gate pass" not in shown
    assert "gate not judged: home recall@10" in shown
    assert "all gates had too few customers to judge (fewer than 30); they refuse nothing" in shown


def test_gates_with_customers_enough_are_passed(tmp_path, capsys):
    shown = said(tmp_path, capsys, ENOUGH)
    assert "gate pass: home recall@10" in shown
    assert "too few" not in shown


def test_one_customer_is_no_plural(tmp_path, capsys):
    assert " 1 customer: too few to judge" in said(tmp_path, capsys, 1)
