"""What rankers learn from: answered questions of the recent past, and nothing of the future."""

import pytest

from features.history import DAY_US
from features.item_facts import fit_item_facts
from models.config import validated_pipeline_config
from models.rank.ranker import RankerConfig
from tests import worlds
from training.fit import fit_models, fit_sources
from training.ranking import answered_questions, learn_rankers, ranking_rows
from training.settings import TrainingSettings
from training.split import split_all

CONFIG = validated_pipeline_config({"ranker": {"least_questions": 5, "n_trees": 20, "min_rows_in_leaf": 2}}, "test")
SETTINGS = TrainingSettings(protocol="time_split", horizon_days=14)
SCENE = "next_basket"


def rows(n_customers=12):
    """Everybody buys bread weekly and one of three other things in turn; day 56 and later are the truth."""
    made = []
    for who in range(n_customers):
        for week in range(10):
            made.append((f"c{who:02d}", "bread", 7 * week + who % 3))
            made.append((f"c{who:02d}", f"other{(who + week) % 3}", 7 * week + who % 3))
    return made


@pytest.fixture(scope="module")
def toy():
    return worlds.world(rows(), as_of=70)


@pytest.fixture(scope="module")
def split(toy):
    return split_all(toy, SETTINGS)


@pytest.fixture(scope="module")
def models(split):
    return fit_sources(split.known, CONFIG, only=CONFIG.all_scenes[SCENE].heard)


def learned(models, dataset, split):
    return ranking_rows(models, dataset, split, SCENE, lambda _: None)


def test_each_of_the_first_baskets_after_the_cut_is_a_question(toy, split):
    questions = list(answered_questions(toy, split, CONFIG.all_scenes[SCENE]))
    assert {q.customer_idx for q in questions} == set(range(12))
    first, second, *_ = [q for q in questions if q.customer_idx == 0]
    assert len(first.tail) == 0
    assert len(second.tail) == 2
    assert second.at > first.at
    assert list(second.tail.order_idx) == [0, 0]


def test_a_question_never_sees_its_own_basket_or_later(toy, split, models):
    for question in answered_questions(toy, split, CONFIG.all_scenes[SCENE]):
        query = models.query(question.customer_idx, question.at, question.tail)
        assert (query.history.at < question.at).all()


def test_a_signal_planted_in_the_future_changes_nothing(toy, split, models):
    """Favourites of exactly what will be bought, at the moment of each customer's last question: no bit moves."""
    last = {q.customer_idx: q for q in answered_questions(toy, split, CONFIG.all_scenes[SCENE])}
    spoiled = rows()
    for customer, question in last.items():
        moment = (question.at - worlds.START) / DAY_US
        items = [toy.products.ids.text(int(i)) for i in question.truth]
        spoiled += [(toy.customers.ids.text(customer), item, moment, "favorite") for item in items] * 5
    other = worlds.world(spoiled, as_of=70)
    assert len(other.product_events) > len(toy.product_events)
    honest, loud = learned(models, toy, split), learned(models, other, split_all(other, SETTINGS))
    assert honest.matrix.tobytes() == loud.matrix.tobytes()
    assert honest.wanted.tobytes() == loud.wanted.tobytes()


def test_purchases_of_the_future_change_no_lesson_and_a_leak_of_them_would():
    """One more customer buys, after every question's moment, all that was the answer: only his own lessons are new."""
    quiet = [*rows(), ("zz", "bread", 1)]
    calm = worlds.world(quiet, as_of=70)
    cut = split_all(calm, SETTINGS)
    asked = list(answered_questions(calm, cut, CONFIG.all_scenes[SCENE]))
    end = (max(question.at for question in asked) - worlds.START) / DAY_US
    answers = {calm.products.ids.text(int(i)) for question in asked for i in question.truth}
    loud = worlds.world([*quiet, *(("zz", item, end) for item in sorted(answers))], as_of=70)
    sources = CONFIG.all_scenes[SCENE].heard

    def lessons(dataset, **leak):
        split = split_all(dataset, SETTINGS)
        fitted = fit_sources(split.known, CONFIG, only=sources)
        return ranking_rows(fitted, dataset, split, SCENE, lambda _: None, **leak)

    honest, spoiled = lessons(calm), lessons(loud)
    n = len(honest.wanted)
    assert len(spoiled.wanted) >= n
    assert spoiled.matrix[:n].tobytes() == honest.matrix.tobytes()
    assert spoiled.wanted[:n].tobytes() == honest.wanted.tobytes()
    leaky = lessons(loud, facts=fit_item_facts(loud))
    assert leaky.matrix[:n].tobytes() != honest.matrix.tobytes()


def test_with_too_few_questions_the_blend_stays_and_the_report_says_so(toy, split, models):
    strict = CONFIG.model_copy(update={"ranker": RankerConfig(least_questions=10_000)})
    rankers, notes = learn_rankers({SCENE: learned(models, toy, split)}, None, strict)
    assert rankers == {}
    assert "fewer than 10000" in notes[SCENE]


def test_a_shop_without_anything_to_judge_is_fitted_without_rankers():
    lonely = worlds.world([("ann", "tea", 1)], as_of=2)
    fitted = fit_models(lonely, CONFIG, TrainingSettings(protocol="last_basket"))
    assert fitted.models.rankers == {}
    assert "nothing to learn from" in fitted.notes[SCENE]


def test_models_fitted_earlier_are_asked_and_their_lessons_kept(toy, split):
    before = fit_models(split.known, CONFIG, SETTINGS)
    fitted = fit_models(toy, CONFIG, SETTINGS, earlier=(split, before))
    assert len(fitted.lessons[SCENE].sizes) > len(before.lessons[SCENE].sizes)
    assert SCENE in fitted.models.rankers
