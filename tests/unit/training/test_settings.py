"""Which word counts when a setting is said more than once."""

import pytest

from features.errors import ContractError, UsageError
from features.shop import create_shop
from models.config import DEFAULT_SCENES
from training.settings import merge_settings


@pytest.fixture
def shop(tmp_path):
    made = create_shop(tmp_path, "tea", "Asia/Shanghai")
    with made.config_file.open("a") as file:
        file.write("[training]\nseed = 1\ncustomers = 11\n[sources.popular]\nhalf_life_days = 7\n")
    return made


def test_shop_file_comes_before_environment_before_file_before_command_line(shop, tmp_path):
    told = tmp_path / "told.toml"
    told.write_text("[training]\nseed = 3\n")
    assert merge_settings(shop, {}).training.seed == 1
    env = {"POND_TRAINING__SEED": "2", "POND_HOME": "/x", "PATH": "/bin"}
    assert merge_settings(shop, env).training.seed == 2
    assert merge_settings(shop, env, told).training.seed == 3
    last = merge_settings(shop, env, told, ["training.seed=4"])
    assert last.training.seed == last.pipeline.seed == 4
    assert last.training.customers == 11
    assert last.pipeline.source("popular").half_life_days == 7


def test_one_weight_of_a_scene_leaves_the_others_standing(shop):
    told = merge_settings(shop, {}, sets=["scenes.home.sources.popular=0.9"]).pipeline
    home = told.all_scenes["home"]
    assert home.sources == dict(DEFAULT_SCENES["home"].sources) | {"popular": 0.9}
    assert home.category_decay == DEFAULT_SCENES["home"].category_decay


def test_values_are_read_as_toml_and_else_as_text(shop):
    told = merge_settings(shop, {}, sets=["training.k=[5]", "training.protocol=last_basket"]).training
    assert told.k == (5,)
    assert told.protocol == "last_basket"


@pytest.mark.parametrize(
    ("sets", "error", "words"),
    [
        (["training.sed=1"], UsageError, "--set training.sed=1"),
        (["training.seed=1", "training.customers=none", "training.workers=1"], UsageError, "--set training.customers="),
        (["training.k=[0]"], UsageError, r"--set training.k=\[0\] cannot be used"),
        (["seed"], UsageError, "--set"),
        (["colour.red=1"], UsageError, "--set"),
        (["sources.nosuch.x=1"], UsageError, "no source"),
        (["training.scenes=['nowhere']"], UsageError, "no scene 'nowhere'"),
        (["training.seed.deep=1"], UsageError, "not a section"),
        (["scenes.home=5"], UsageError, "--set scenes.home=5 cannot be used: must be a table, not 5"),
        (["scenes.home=5", "scenes.home.sources.popular=1"], UsageError, "home is a value, not a section"),
        (["sources.als=5"], UsageError, "--set sources.als=5 cannot be used: must be a table, not 5"),
        (["scenes.home.sources=5"], UsageError, "must be a table, not 5"),
        (["scenes.mine={}"], UsageError, "cannot be used: scenes.mine.sources: is required"),
        (["scenes.home.sources={}"], UsageError, "none has a weight above 0"),
        (["scenes.new.sources={newest = 0, own_kinds = 0.0}"], UsageError, "none has a weight above 0"),
        (["scenes.home.scorers=['popular', 'popular']"], UsageError, "scorers: a source is named twice"),
        (["scenes.home.fallback=['popular', 'popular']"], UsageError, "fallback: a source is named twice"),
        (
            ["scenes.home.ranker=popular"],
            UsageError,
            "used: scenes.home.ranker: none is learned for the scene 'popular'.* such as discover",
        ),
        (["scenes.popular.ranker=popular"], UsageError, "none is learned for the scene 'popular'"),
        (["scenes.cart.ranker=cart"], UsageError, "none is learned for the scene 'cart'"),
    ],
)
def test_a_mistake_is_named(shop, sets, error, words):
    with pytest.raises(error, match=words):
        merge_settings(shop, {}, sets=sets)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[scenes]\nhome = 5\n", r"scenes\.home: must be a table, not 5"),
        ("[scenes]\nhome = []\n", r"scenes\.home: must be a table, not \[\]"),
        ("[scenes.home]\nsources = 5\n", r"scenes\.home\.sources: must be a table"),
        ("[scenes.home]\nsources = {}\n", "none has a weight above 0"),
        ("[scenes.home]\nranker = 'popular'\n", "none is learned for the scene 'popular'"),
    ],
)
def test_a_mistake_of_the_file_is_one_whatever_is_set_beside_it(shop, text, words):
    with shop.config_file.open("a") as file:
        file.write(text)
    for sets in ([], ["training.seed=1"], ["scenes.home.candidates=7"]):
        with pytest.raises(ContractError, match=words):
            merge_settings(shop, {}, sets=sets)
    with pytest.raises((ContractError, UsageError)):
        merge_settings(shop, {"POND_SCENES__HOME__SOURCES__POPULAR": "no number"})


def test_a_scene_of_the_shop_s_own_may_be_ordered_by_a_ranker_of_its_own(shop):
    assert "home" in merge_settings(shop, {}, sets=["scenes.home.ranker=home"]).pipeline.ranked_scenes


def test_a_mistake_of_the_file_is_not_blamed_on_the_command_line(shop):
    with shop.config_file.open("a") as file:
        file.write("[sources.als]\ndim = 0\n")
    with pytest.raises(ContractError, match=r"pond\.toml.*als"):
        merge_settings(shop, {}, sets=["training.seed=4"])
    assert merge_settings(shop, {}, sets=["sources.als.dim=8"]).pipeline.source("als").dim == 8


def test_an_unknown_section_of_a_file_is_refused(shop, tmp_path):
    told = tmp_path / "told.toml"
    told.write_text("[trainig]\nseed = 3\n")
    with pytest.raises(ContractError, match="trainig"):
        merge_settings(shop, {}, told)
    with pytest.raises(UsageError, match="cannot be read"):
        merge_settings(shop, {}, tmp_path / "missing.toml")


def test_the_ranker_is_set_like_everything_else(shop):
    told = merge_settings(shop, {"POND_RANKER__N_TREES": "7"}, sets=["ranker.negatives=9"]).pipeline
    assert (told.ranker.n_trees, told.ranker.negatives) == (7, 9)
    with pytest.raises(UsageError, match=r"--set ranker.n_trees=0"):
        merge_settings(shop, {}, sets=["ranker.n_trees=0"])


RULE = """
[[parts.bundles.scenarios]]
name = "clean-home"
when = ["home/vacuums"]
roles = [{name = "wiping", of = ["home/mops"]}]
"""


def test_rules_of_bundles_are_read_from_the_shops_file_and_a_mistake_in_them_is_told(shop):
    with shop.config_file.open("a") as file:
        file.write(RULE)
    (rule,) = merge_settings(shop, {}).pipeline.part("bundles").scenarios
    assert (rule.name, rule.roles[0].of) == ("clean-home", ("home/mops",))
    with shop.config_file.open("a") as file:
        file.write(RULE)
    with pytest.raises(ContractError, match="two have the same name"):
        merge_settings(shop, {})


def test_how_often_a_thing_is_shown_before_it_rests_is_a_setting(shop):
    assert merge_settings(shop, {}, sets=["fatigue.shown=3"]).pipeline.fatigue.shown == 3
