"""Contents in a toy newsroom: who is shown what, and what never comes."""

from dataclasses import replace

import numpy as np
import pytest

from features.columns import EventKind, ItemKind
from features.history import History
from models.artifact import load_value, save_value
from models.contents.config import ContentConfig
from models.contents.model import ContentModel, fit_contents
from models.forgetting import Gone
from models.rank.ranker import RankerConfig
from tests.newsroom import DAYS, HOUR, READERS, asked, ids, late_readers, newsroom, piece, trained, with_forests
from tests.worlds import day, two_tastes

RULE = ContentConfig(ranker=RankerConfig(least_questions=10**6))
FAN = "tea-fan-03"


@pytest.fixture(scope="module", params=["rule", "learned"])
def models(request):
    made = trained(newsroom(), RULE)
    return made if request.param == "rule" else with_forests(made, newsroom())


def codes(slate):
    return [pick.reason.code for pick in slate.picks]


def test_a_stranger_gets_what_is_fresh(models):
    assert set(ids(models, asked(models, k=2))) == {f"tea-{DAYS - 1}", f"silk-{DAYS - 1}"}
    assert {pick.kind for pick in asked(models).picks} == {ItemKind.content}


def test_a_piece_published_a_second_ago_comes_first(models):
    fresh = piece("fresh", DAYS - 1 / 86_400, title="something else")
    assert ids(models, asked(models, k=1, changes=[fresh]), [fresh]) == ["fresh"]


def test_what_was_read_never_comes_again_unless_it_is_asked_for(models):
    every = asked(models, FAN, k=100)
    assert len(every.picks) == DAYS  # the other taste's
    assert not [name for name in ids(models, every) if name.startswith("tea")]
    again = ids(models, asked(models, FAN, k=100, again=True))
    assert len(set(again)) == len(again) == 2 * DAYS
    assert "only 20 of 100 places filled" in every.degraded[0]
    assert every.causes == ("short",)


def test_what_was_disliked_does_not_come_even_when_asked_for_again(models):
    idx = models.contents.ids.idx("silk-10")
    told = History(
        np.array([idx], np.int32), np.array([day(DAYS) - 1]), np.array([EventKind.dislike], np.uint8),
        np.ones(1, np.float32), np.full(1, np.nan, np.float32), np.full(1, -1, np.int32),
    )  # fmt: skip
    slate = asked(models, "", k=100, again=True, others={ItemKind.content: told})
    assert len(slate.picks) == 2 * DAYS - 1
    assert "silk-10" not in ids(models, slate)


@pytest.mark.parametrize(
    ("told", "at", "shown"),
    [
        ({"at": DAYS - HOUR}, DAYS, True),
        ({"at": DAYS}, DAYS, False),  # an answer is made of what lies strictly before it
        ({"at": DAYS}, DAYS + HOUR, True),
        ({"at": DAYS + 1}, DAYS, False),
        ({"expires_at": DAYS}, DAYS, False),
        ({"expires_at": DAYS + HOUR}, DAYS, True),
        ({"starts_at": DAYS + HOUR}, DAYS, False),
        ({"starts_at": DAYS + HOUR, "form": "live"}, DAYS, True),
        ({"starts_at": DAYS - HOUR, "expires_at": DAYS + HOUR, "form": "live"}, DAYS, True),
        ({"starts_at": DAYS - 2 * HOUR, "expires_at": DAYS - HOUR, "form": "live"}, DAYS, False),
    ],
)
def test_dates_decide_what_may_be_shown(models, told, at, shown):
    one = piece("one", **told)
    assert ("one" in ids(models, asked(models, k=100, at=at, changes=[one]), [one])) is shown


def test_a_live_stream_is_announced_and_then_shown_while_it_is_on(models):
    stream = piece("stream", 3.0, form="live", starts_at=DAYS + 3 * HOUR, expires_at=DAYS + 5 * HOUR)
    soon = asked(models, k=3, changes=[stream])
    at = ids(models, soon, [stream]).index("stream")
    assert soon.picks[at].reason.en == "Live soon, in about 3 h"
    on = asked(models, k=3, at=DAYS + 4 * HOUR, changes=[stream])
    assert ids(models, on, [stream])[0] == "stream"
    assert codes(on)[0] == "content_live"


def test_forms_and_channels_are_obeyed(models):
    rows = [piece("video", form="short_video"), piece("wecom-only", channels=["wecom"])]
    video = asked(models, k=3, changes=rows, forms=["short_video"])
    assert ids(models, video, rows) == ["video"]
    on_app = ids(models, asked(models, k=100, changes=rows, channel="app"), rows)
    assert "wecom-only" not in on_app
    assert {"video", "tea-00"} <= set(on_app)
    assert "wecom-only" in ids(models, asked(models, k=100, changes=rows, channel="wecom"), rows)


def test_pins_come_first_and_what_is_excluded_stays_away(models):
    idx = models.contents.ids.idx
    slate = asked(models, k=3, pins=np.array([idx("tea-05")]), exclude=np.array([idx(f"silk-{DAYS - 1}")]))
    assert ids(models, slate)[0] == "tea-05"
    assert slate.picks[0].stage == "pin"
    assert f"silk-{DAYS - 1}" not in ids(models, slate)


def test_readers_get_the_fresh_piece_of_their_own_taste(models):
    # Half an hour old, both read by nobody but three of each taste.
    rows = [piece(f"{taste}-new", DAYS - 2 * HOUR) for taste in ("tea", "silk")]
    what = [
        (f"{t}-fan-{who:02d}", f"content:{t}-new", DAYS - HOUR, "view") for t in ("tea", "silk") for who in (7, 8, 9)
    ]
    after = replace(
        trained(newsroom(contents=rows, what=what), RULE), config=models.config
    )  # the same readings counted live are told in tests/unit/training/test_content_batch.py
    for taste in ("tea", "silk"):
        assert ids(after, asked(after, f"{taste}-fan-03", k=1)) == [f"{taste}-new"]
        assert codes(asked(after, f"{taste}-fan-03", k=1)) != ["content_popular"]


def test_texts_alone_tell_what_is_liked_in_both_languages():
    words = {
        "tea-en": "how to brew green tea tonight",
        "silk-en": "caring for silk dresses tonight",
        "tea-zh": "绿茶 今晚",
        "silk-zh": "真丝 今晚",
    }
    rows = [piece(name, title=text) for name, text in words.items()]
    young = trained(newsroom(contents=rows, as_of=DAYS), RULE)
    told = [name for name in ids(young, asked(young, FAN, k=30)) if name in words]
    assert set(told[:2]) == {"tea-en", "tea-zh"}
    assert "content_alike" in codes(asked(young, FAN, k=5))


def test_a_content_about_a_product_the_customer_looks_at_comes_before_another():
    rows = [piece("about-pot", product_ids=["pot"]), piece("about-pan", product_ids=["pan"])]
    products = [{"product_id": p, "title": p, "category": f"kitchen/{p}"} for p in ("pot", "pan")]
    models = trained(
        newsroom(contents=rows, what=[("cook", "pot", 10, "view"), ("cook", "pot", 11, "purchase")], products=products),
        RULE,
    )
    slate = asked(models, "cook", k=10)
    assert ids(models, slate)[0] == "about-pot"
    assert ids(models, slate).index("about-pan") > 1
    assert slate.picks[0].reason.zh == "讲到您关注的「pot」"


def test_a_content_for_the_customers_stage_comes_before_one_for_anothers():
    rows = [piece("for-loyal", stage="loyal"), piece("for-babies", stage="newborn")]
    models = trained(
        newsroom(
            contents=rows, what=[("cook", "pot", DAYS - day) for day in (7, 4, 1)],
            customers=[{"customer_id": "mother", "attributes": '{"life_stage": "newborn"}'}],
        ),
        RULE,
    )  # fmt: skip
    assert ids(models, asked(models, "cook", k=2)) == ["for-loyal", f"silk-{DAYS - 1}"]
    mother = asked(models, "mother", k=1)
    assert ids(models, mother) == ["for-babies"]
    assert codes(mother) == ["content_stage"]


def test_two_strangers_get_the_same_list(models):
    assert asked(models, "") == asked(models, "nobody-knows")


def test_last_places_drawn_by_chance_carry_their_propensity(models):
    slate = asked(models, k=5, explore_seed=7)
    assert [pick.stage for pick in slate.picks[3:]] == ["explore", "explore"]
    assert all(0 < pick.propensity < 1 for pick in slate.picks[3:])
    assert slate == asked(models, k=5, explore_seed=7)


def test_a_long_list_is_filled_with_the_newest_of_the_rest_and_says_so(models):
    small = ContentConfig.model_validate(
        {
            "ranker": {"least_questions": 10**6},
            "pool": {"warm": 1, "new": 1, "hour": 0, "days": 0, "taste": 0, "near": 0},
        }
    )
    few = trained(newsroom(), small)
    slate = asked(few, k=6)
    assert len(set(ids(few, slate))) == 6
    assert {pick.stage for pick in slate.picks[2:]} == {"fallback:newest"}


def test_an_old_content_is_found_by_its_text_and_taste_in_the_vector_index():
    pool = {"warm": 1, "new": 1, "hour": 0, "days": 0, "taste": 0, "near": 5}
    config = ContentConfig.model_validate({"ranker": {"least_questions": 10**6}, "pool": pool})
    rows = [piece("old-tea", 1.0, title="how to brew green tea"), piece("old-silk", 1.0, title="caring for silk")]
    models = trained(newsroom(contents=rows), config)
    found = [pick for pick in asked(models, FAN, k=40).picks if not pick.stage.startswith("fallback")]
    names = [models.contents.ids.text(pick.item_idx) for pick in found]
    assert "old-tea" in names
    assert "old-silk" not in names


def test_an_order_is_learned_where_it_is_worth_it_and_the_report_says_how_well():
    part = trained(late_readers()).part(ContentModel)
    assert part.forests.boosters
    assert part.judged["questions"] > 50
    assert part.judged["learned"] > part.judged["rule"] + 0.1
    assert part.note.startswith("hit rate of ten on the latest")


def test_an_order_that_is_no_better_than_the_rule_is_left_out():
    part = trained(newsroom()).part(ContentModel)
    assert not part.forests.boosters
    assert part.note.endswith("; the learned order is no better than the rule and is left out")


def test_too_few_readings_teach_nothing_and_the_report_says_so():
    part = trained(newsroom(as_of=5)).part(ContentModel)
    assert not part.forests.boosters
    assert "answered readings, fewer than 300" in part.note


def test_a_shop_without_contents_has_an_empty_part_and_an_empty_answer():
    models = trained(two_tastes())
    assert models.part(ContentModel).note == ""
    assert asked(models).picks == ()


def test_contents_known_from_readings_alone_are_shown_once_they_were_read():
    models = trained(newsroom(what=[("tea-fan-01", "content:heard-of", DAYS - HOUR, "view")]), RULE)
    assert "heard-of" in ids(models, asked(models, k=3))


def test_what_is_saved_answers_the_same(models, tmp_path):
    save_value(models.part(ContentModel), tmp_path / "contents")
    again = replace(models, parts={"contents": load_value(ContentModel, tmp_path / "contents")})
    for who in ("", FAN):
        assert asked(again, who, k=10) == asked(models, who, k=10)


def test_equal_data_make_equal_parts():
    one, two = (fit_contents(late_readers(), {}, ContentConfig(), np.random.default_rng(3)) for _ in range(2))
    assert one.forests.boosters[0].model_to_string() == two.forests.boosters[0].model_to_string()
    assert one.words.tobytes() == two.words.tobytes()


def test_who_is_erased_is_in_no_group_any_more(models):
    part, who = models.part(ContentModel), models.customers.ids.idx(FAN)
    assert part.taste.n_groups == 2 * READERS // 12
    assert part.taste.group(who) > 0
    after = part.without(Gone(np.array([who], np.int32)))
    assert after.taste.group(who) == 0
    others = np.delete(np.arange(len(part.taste.group_of)), who)
    assert np.array_equal(after.taste.group_of[others], part.taste.group_of[others])
    assert after.pulse is part.pulse  # counts name nobody
