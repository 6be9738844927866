"""Studies on disk: what belongs together, what an interruption leaves, and that nothing is lost."""

import math

import numpy as np
import optuna
import pytest

from features.errors import ContractError, UsageError
from training.study import BASELINE, DATABASE, StudyKey, TrialRecord, open_study
from training.tuning_space import Part, Setting

KEY = StudyKey("data", "time_split, 7 days", "home", "settings")
DIM = Setting(("sources", "als", "dim"), "int", 4, 64)
ALPHA = Setting(("sources", "als", "alpha"), "float", 1, 100)
ALS = Part("sources.als", (DIM, ALPHA), (16, 40.0))
REPEAT = Part("sources.repeat", (Setting(("sources", "repeat", "half_life_days"), "float", 10, 700),), (80.0,))


def record(number, gain=0.0, part="sources.als", **changed):
    return TrialRecord(
        number, part, changed, changed, 1 + gain, gain, 0.01, better=gain > 0.01, means={"home": 0.1},
        ndcg=np.array([[0.5, np.nan, 0.25]], np.float32), seconds=1.5,
    )  # fmt: skip


def begun(study):
    study.keep_baseline((ALS, REPEAT), ("discover",), record(0, part=BASELINE))


def walked(study, turns):
    """Some trials of alternating parts; what each proposed."""
    proposed = []
    for turn in turns:
        part = (ALS, REPEAT)[turn % 2]
        trial, changed = study.ask(part, turn)
        proposed.append(changed)
        study.tell(trial, record(trial.number, 0.02 * (-1) ** turn, part.name, **changed))
    return proposed


def test_a_trial_is_read_back_as_it_was_written(tmp_path):
    with open_study(tmp_path, KEY, 0) as study:
        begun(study)
        walked(study, [0])
        first, second = study.records()
    assert (first.part, first.means, first.seconds, study.learned) == (BASELINE, {"home": 0.1}, 1.5, ("discover",))
    assert np.array_equal(second.ndcg, record(1).ndcg, equal_nan=True)
    assert second.gain == 0.02
    assert set(second.changed) == {"sources.als.dim", "sources.als.alpha"}
    assert isinstance(second.changed["sources.als.dim"], int)


def test_a_study_closed_and_opened_again_proposes_what_it_would_have(tmp_path):
    with open_study(tmp_path / "through", KEY, 3) as study:
        begun(study)
        whole = walked(study, range(6))
    with open_study(tmp_path / "twice", KEY, 3) as study:
        begun(study)
        first = walked(study, range(3))
    with open_study(tmp_path / "twice", KEY, 3) as study:
        assert not study.is_new
        assert first + walked(study, range(3, 6)) == whole


def test_proposals_stay_in_range_and_differ(tmp_path):
    with open_study(tmp_path, KEY, 0) as study:
        begun(study)
        proposed = [row for row in walked(study, range(8)) if "sources.als.dim" in row]
    assert all(4 <= row["sources.als.dim"] <= 64 and 1 <= row["sources.als.alpha"] <= 100 for row in proposed)
    assert len({row["sources.als.alpha"] for row in proposed}) == len(proposed)


def test_a_trial_whose_process_died_is_abandoned_and_comes_again(tmp_path):
    with open_study(tmp_path, KEY, 0) as study:
        begun(study)
        _, lost = study.ask(ALS, 0)  # never told
    with open_study(tmp_path, KEY, 0) as study:
        assert len(study.records()) == 1
        assert [t.state.name for t in study.study.get_trials()] == ["COMPLETE", "FAIL"]
        _, again = study.ask(ALS, 0)
    assert again == lost


def test_a_proposal_that_was_never_opened_is_not_taken_for_the_next(tmp_path):
    with open_study(tmp_path, KEY, 0) as study:
        begun(study)
        study.study.enqueue_trial({"sources.als.dim": 5, "sources.als.alpha": 2.0})
    with open_study(tmp_path, KEY, 0) as study:
        trial, changed = study.ask(REPEAT, 0)
        assert trial.params == changed
        assert set(changed) == {"sources.repeat.half_life_days"}


def test_what_gained_is_looked_for_more(tmp_path):
    """The gain falls with the distance from alpha 4, which the current settings are far from."""
    with open_study(tmp_path, KEY, 0) as study:
        begun(study)
        for turn in range(24):
            trial, changed = study.ask(ALS, turn)
            gain = 1 - abs(math.log(changed["sources.als.alpha"] / 4))
            study.tell(trial, record(trial.number, gain, ALS.name, **changed))
        tried = [each.changed["sources.als.alpha"] for each in study.records()[13:]]
    assert 2 < float(np.median(tried)) < 8


def test_a_trial_that_failed_by_itself_is_kept_with_its_reason(tmp_path):
    with open_study(tmp_path, KEY, 0) as study:
        begun(study)
        trial, changed = study.ask(ALS, 0)
        failed = TrialRecord(
            trial.number, ALS.name, changed, changed, 0.0, 0.0, 0.0, better=False, means={},
            ndcg=np.empty((0, 0), np.float32), seconds=0.1, failure="too big",
        )  # fmt: skip
        study.tell(trial, failed)
        assert [each.failure for each in study.records()] == ["", "too big"]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("dataset", "the data"),
        ("protocol", "the way of judging"),
        ("scenes", "the scenes"),
        ("settings", "the settings"),
    ],
)
def test_anything_else_is_another_study_and_says_so(tmp_path, field, said):
    with open_study(tmp_path, KEY, 0) as study:
        begun(study)
        assert study.news == ""
    other = StudyKey(
        **{name: getattr(KEY, name) for name in ("dataset", "protocol", "scenes", "settings")} | {field: "x"}
    )
    with open_study(tmp_path, other, 0) as study:
        assert study.is_new
        assert study.records() == []
        assert study.news == f"Since the last study {said} changed: a new study begins, the old one stays as it is."
    with open_study(tmp_path, KEY, 0) as study:
        assert len(study.records()) == 1


def test_only_one_at_a_time_tunes_a_shop(tmp_path):
    with open_study(tmp_path, KEY, 0), pytest.raises(UsageError, match="Another `pond tune`"):  # noqa: SIM117
        with open_study(tmp_path, KEY, 0):
            pass


def test_a_damaged_store_is_named(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"this is no database at all" * 100)
    with pytest.raises(ContractError, match="move it away"), open_study(tmp_path, KEY, 0):
        pass


def test_the_run_of_the_tracker_is_remembered(tmp_path):
    with open_study(tmp_path, KEY, 0) as study:
        assert study.run_id == ""
        study.keep_run_id("abc")
    with open_study(tmp_path, KEY, 0) as study:
        assert study.run_id == "abc"


def test_optuna_is_left_as_talkative_as_it_was(tmp_path):
    before = optuna.logging.get_verbosity()
    with open_study(tmp_path, KEY, 0):
        assert optuna.logging.get_verbosity() == optuna.logging.WARNING
    assert optuna.logging.get_verbosity() == before
