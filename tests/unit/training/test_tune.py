"""Tuning finds what is known to be better, goes on where it stopped, and never looks at what releases are judged by."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import pytest

from features.contracts import table_named
from features.errors import ContractError, UsageError
from features.lake import Lake
from features.shop import create_shop
from tests import worlds
from training.bench import Bench, Scale, tuning_split
from training.metrics import Interval
from training.settings import TrainingSettings, merge_settings
from training.split import split_all
from training.tune import NOTICED, Limit, tune
from training.tuning_space import with_values

N_CUSTOMERS = 48
WEEKS = 10
# The shop's recipe puts what everybody once bought before what each buys weekly: better weights are easy to find.
SETS = [
    "training.protocol=time_split", "training.horizon_days=7", "training.bootstrap_samples=200", "training.workers=1",
    "scenes.home.sources={popular = 1.0, repeat = 0.3}", "training.scenes=['home']", "training.gate_scenes=['home']",
]  # fmt: skip


def rows(truth=None):
    """Everybody buys three favourites weekly, and bought eight bestsellers once, long ago; `truth` is the last week."""
    for who in range(N_CUSTOMERS):
        name = f"c{who:02d}"
        for best in range(8):
            yield name, f"best{best:02d}", best % 3
        for week in range(1, WEEKS - 1):
            for n in range(3):
                yield name, f"own{(3 * who + n) % 60:02d}", 7 * week + who % 5
        last = 7 * (WEEKS - 1)
        if truth is None:
            for n in range(3):
                yield name, f"own{(3 * who + n) % 60:02d}", last + who % 5
        else:
            yield from truth(name, who, last)
    yield "c00", "best00", 7 * WEEKS - 0.25  # the last moment of the data


def filled(home, made):
    shop = create_shop(home, "toy", worlds.TIMEZONE)
    table = table_named("events")
    with Lake(shop.lake_dir).writer("events") as writer:
        writer.write(worlds.events(made).select(pl.col(n).cast(t) for n, t in table.schema.items()))
        writer.commit()
    return shop


@pytest.fixture
def shop(tmp_path):
    return filled(tmp_path, rows())


def tuned(shop, trials=4, **more):
    return tune(shop, merge_settings(shop, {}, sets=[*SETS, *more.pop("sets", [])]), Limit(trials), **more)


def figures(report):
    return [(t.part, t.changed, t.score, t.gain, t.better, t.ndcg.tobytes()) for t in report.trials]


def test_better_weights_are_found_confirmed_and_taken_over(shop):
    report = tuned(shop, 20)
    assert report.best.score > 1.5
    home = report.comparisons["home"]
    assert home.difference.low > 0
    assert home.difference.n == report.n_confirming == 16
    assert math.isclose(home.tuned - home.current, home.difference.mean, abs_tol=1e-6)
    assert "significantly better in home" in report.verdict
    assert report.worse == ()
    lost = replace(home, difference=Interval(mean=-0.2, low=-0.3, high=-0.1, n=16))
    regretted = replace(report, comparisons={"home": lost})
    assert regretted.worse == ("home",)
    assert "significantly worse in home" in regretted.verdict
    assert {change.name for change in report.changes} == set(report.best.values)
    assert report.settings.pipeline.digest != merge_settings(shop, {}, sets=SETS).pipeline.digest


def test_the_first_trial_is_the_current_settings(shop):
    first = tuned(shop, 1).trials[0]
    assert (first.number, first.part, first.values, first.score, first.gain) == (0, "current", {}, 1.0, 0.0)


def test_each_trial_changes_one_part_of_the_best_so_far(shop):
    report = tuned(shop, 6)
    best = report.trials[0]
    for trial in report.trials[1:]:
        assert trial.values == best.values | trial.changed
        assert all(name.startswith(trial.part) for name in trial.changed)
        assert trial.better == (trial.gain > max(trial.gain_error, NOTICED))
        best = trial if trial.better else best
    assert report.best.number == best.number
    assert {trial.part for trial in report.trials[1:4]} == {"sources.popular", "sources.repeat", "scenes.home"}


def test_parts_that_nobody_notices_wait(shop):
    """Which of the old bestsellers come first, or how long habits last, changes no list here; the blend does."""
    tried = [trial.part for trial in tuned(shop, 8).trials[1:]]
    assert set(tried[:3]) == {"sources.popular", "sources.repeat", "scenes.home"}
    assert tried.count("scenes.home") > max(tried.count("sources.popular"), tried.count("sources.repeat"))


def test_tuning_in_two_goes_is_tuning_in_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = tuned(filled(tmp_path / "a", rows()), 5)
    shop = filled(tmp_path / "b", rows())
    first = tuned(shop, 2)
    second = tuned(shop, 3)
    assert not first.continued
    assert second.continued
    assert (second.n_new, len(second.trials)) == (3, 6)
    assert figures(second) == figures(whole)


def test_what_was_interrupted_comes_again(shop, tmp_path):
    def stop(record):
        if record.number == 2:
            raise KeyboardInterrupt

    report = tuned(shop, 5, told=stop)
    assert report.interrupted
    assert len(report.trials) == 3
    (tmp_path / "other").mkdir()
    whole = tuned(filled(tmp_path / "other", rows()), 5)
    assert figures(tuned(shop, 3)) == figures(whole)


def test_a_trial_stopped_halfway_is_abandoned_and_comes_again(shop, tmp_path):
    tracker = StoppingTracker(at=2)
    stopped = tuned(shop, 5, tracker=tracker)
    assert stopped.interrupted
    assert [t.number for t in stopped.trials] == [0, 1]
    assert tracker.closed == [("trial 0", False), ("trial 1", False), ("trial 2", True)]
    (tmp_path / "other").mkdir()
    whole = tuned(filled(tmp_path / "other", rows()), 3)
    again = tuned(shop, 2)
    assert figures(again) == figures(whole)
    assert [t.number for t in again.trials] == [0, 1, 3, 4]


def test_nothing_of_the_evaluations_truth_reaches_a_tuning(tmp_path):
    """Everything that happened in the last week is another: whose, what, how often, in which baskets."""

    def reversed_taste(name, who, last):
        for n in range(1 + who % 4):
            yield f"c{(7 * who) % N_CUSTOMERS:02d}", f"own{(59 - 3 * who - n) % 60:02d}", last + (who + n) % 6

    def views_and_bestsellers(name, who, last):
        yield name, f"best{who % 8:02d}", last + 6 - who % 6
        yield name, f"own{who % 60:02d}", last + 1, "view"

    made = []
    for number, truth in enumerate((None, reversed_taste, views_and_bestsellers)):
        (tmp_path / str(number)).mkdir()
        made.append(tuned(filled(tmp_path / str(number), rows(truth)), 5))
    assert figures(made[0]) == figures(made[1]) == figures(made[2])
    assert made[0].changes == made[1].changes == made[2].changes
    assert made[0].study == made[1].study


@pytest.mark.parametrize("protocol", ["time_split", "last_basket", "hold_out"])
def test_tuning_is_judged_on_nothing_that_the_evaluation_judges_on(protocol):
    dataset = worlds.world(rows())
    settings = TrainingSettings(protocol=protocol, horizon_days=7 if protocol == "time_split" else None)
    judged, tuning = split_all(dataset, settings), tuning_split(dataset, settings)
    assert tuning.protocol == protocol

    def lines(events):
        return set(zip(events.customer_idx.tolist(), events.item_idx.tolist(), events.at.tolist(), strict=True))

    allowed = lines(judged.known.product_events)
    assert lines(tuning.known.product_events) < allowed
    pairs = {(customer, item) for customer, item, _ in allowed - lines(tuning.known.product_events)}
    assert {(case.customer_idx, int(item)) for case in tuning.cases for item in case.truth} <= pairs


def test_last_baskets_of_the_evaluation_do_not_reach_a_tuning(tmp_path):
    made = []
    for shift in (0, 17):
        home = tmp_path / str(shift)
        home.mkdir()
        last = [
            (f"c{who:02d}", f"own{(3 * who + n + shift) % 60:02d}", 7 * (WEEKS - 1))
            for who in range(N_CUSTOMERS)
            for n in range(2)
        ]
        before = [row for row in rows(lambda *_: ()) if row[2] < 7 * (WEEKS - 1)]
        made.append(tuned(filled(home, [*before, *last]), 3, sets=["training.protocol=last_basket"]))
    assert figures(made[0]) == figures(made[1])


def test_other_data_begin_another_study(shop):
    first = tuned(shop, 1)
    table = table_named("events")
    more = worlds.events([("c01", "own05", 20)]).with_columns(event_id=pl.lit("new"))
    with Lake(shop.lake_dir).writer("events") as writer:
        writer.write(more.select(pl.col(n).cast(t) for n, t in table.schema.items()))
        writer.commit()
    second = tuned(shop, 1)
    assert second.study != first.study
    assert "the data changed" in second.news
    assert len(second.trials) == 2


def test_other_settings_begin_another_study(shop):
    first = tuned(shop, 1)
    second = tuned(shop, 1, sets=["sources.repeat.half_life_days=50"])
    assert second.study != first.study
    assert "the settings changed" in second.news


def test_only_what_changed_is_fitted_again(shop):
    settings = merge_settings(shop, {}, sets=SETS)
    from_lake = worlds.world(rows())
    bench = Bench.of(from_lake, settings, ("home",))
    bench.judge(settings.pipeline)
    made = bench.scope.memo.made

    def fresh(values):
        before = len(made)
        bench.judge(with_values(settings.pipeline, values))
        return [part[1] if len(part) == 2 and part[0] != "ndcg" else part for part in made[before:]]

    assert fresh({}) == []
    assert fresh({("scenes", "home", "sources", "repeat"): 0.5}) == [("ndcg", "home")]
    assert fresh({("sources", "repeat", "popularity"): 0.9}) == ["repeat", ("ndcg", "home")]
    assert fresh({("sources", "repeat", "popularity"): 0.9}) == []


def test_rankers_are_learned_again_only_from_other_lessons_or_with_other_settings():
    settings = merge_like(
        {"ranker": {"least_questions": 5, "n_trees": 5, "min_rows_in_leaf": 2, "objectives": ["binary"]},
         "scenes": {"home": {"sources": {"repeat": 1.0, "popular": 0.1}, "ranker": "home"}}}
    )  # fmt: skip
    bench = Bench.of(worlds.world(rows()), settings, ("home",))
    first = bench.judge(settings.pipeline)
    assert first.learned == ("home",)
    made = bench.scope.memo.made
    before = len(made)
    bench.judge(with_values(settings.pipeline, {("ranker", "n_trees"): 9}))
    assert [part[1] for part in made[before:]] == ["ranker", "home"]
    before = len(made)
    again = bench.judge(with_values(settings.pipeline, {("sources", "repeat", "half_life_days"): 20.0}))
    names = [part[1] for part in made[before:]]
    assert names.count("repeat") == 2
    assert {"questions", "ranker", "home"} <= set(names)
    assert "popular" not in names
    assert again.ndcg.shape == first.ndcg.shape


def test_score_and_gain_are_arithmetic():
    current = np.array([[0.5, 0.5, np.nan], [0.1, 0.3, 0.2]], np.float32)
    after = np.array([[0.5, 1.0, np.nan], [0.1, 0.3, 0.2]], np.float32)
    scale = Scale.of(current, np.ones(3, np.bool_))
    assert math.isclose(scale.score(current), 1)
    assert math.isclose(scale.score(after), (1.5 + 1) / 2)
    gain, error = scale.gain(after, current)
    assert math.isclose(gain, 0.25)
    assert math.isclose(error, math.sqrt(3) * np.std([0, 0.25, 0]))


def test_customers_who_confirm_do_not_choose():
    current = np.array([[0.5, 0.5]], np.float32)
    scale = Scale.of(current, np.array([True, False]))
    assert scale.gain(np.array([[0.5, 1.0]], np.float32), current) == (0.0, 0.0)


def test_one_customer_is_no_reason_to_change_anything():
    """Whoever alone gains, gains more than one standard error: that is why there is a least gain."""
    current = np.full((1, 1000), 0.3, np.float32)
    after = current.copy()
    after[0, 7] += 0.1
    gain, error = Scale.of(current, np.ones(1000, np.bool_)).gain(after, current)
    assert error < gain < NOTICED


def test_without_any_hit_there_is_no_measure():
    with pytest.raises(ContractError, match="no measure"):
        Scale.of(np.zeros((1, 3), np.float32), np.ones(3, np.bool_))


def test_what_cannot_be_better_is_said_plainly(shop):
    report = tuned(shop, 2, sets=["scenes.home.sources={repeat = 1.0, popular = 0.003}"])
    assert report.changes == ()
    assert report.best.number == 0
    assert report.verdict == "Nothing that was tried is better than the current settings: keep them."


@pytest.mark.parametrize("limit", [{}, {"trials": 0}, {"trials": -3}, {"minutes": 0}, {"minutes": math.nan}])
def test_limits_that_try_nothing_are_refused(limit):
    with pytest.raises(UsageError):
        Limit(**limit)


def test_too_small_a_shop_is_told_what_it_lacks(tmp_path):
    few = [row for row in rows() if row[0] < "c10"]
    with pytest.raises(ContractError, match=r"10 customers can be judged.*needs 30"):
        tuned(filled(tmp_path, few))


def test_too_short_a_history_is_told_what_it_lacks(tmp_path):
    short = [(who, item, at / 10) for who, item, at in rows()]
    with pytest.raises(ContractError, match="ingest more history"):
        tuned(filled(tmp_path, short))


@pytest.mark.parametrize(("scene", "said"), [("hme", "no scene 'hme'"), ("similar", "cannot be tuned")])
def test_scenes_that_cannot_be_tuned_are_refused(shop, scene, said):
    with pytest.raises(UsageError, match=said):
        tuned(shop, scenes=(scene,))


def merge_like(tree):
    """Settings of no shop."""
    from models.config import validated_pipeline_config
    from training.settings import RunSettings

    training = TrainingSettings(protocol="time_split", horizon_days=7, workers=1)
    return RunSettings(training, validated_pipeline_config(tree, "test"))


@dataclass
class StoppingRun:
    """A recorder during whose n-th child somebody presses Ctrl-C."""

    tracker: "StoppingTracker"
    name: str = ""
    run_id: str = "parent"
    warnings: tuple[str, ...] = ()

    def log_params(self, params):
        if self.name.startswith(f"trial {self.tracker.at}"):
            raise KeyboardInterrupt

    def log_metrics(self, metrics):
        pass

    def log_files(self, directory, folder):
        pass

    def register(self, model, release_id, *, champion):
        pass

    def finish(self, *, failed, reason=""):
        if self.name:
            self.tracker.closed.append((self.name.partition(":")[0], failed))

    def child(self, name):
        return StoppingRun(self.tracker, name)


@dataclass
class StoppingTracker:
    at: int
    closed: list = field(default_factory=list)

    def start(self, shop, release_id):
        return StoppingRun(self)

    def go_on(self, shop, study, run_id):
        return StoppingRun(self)
