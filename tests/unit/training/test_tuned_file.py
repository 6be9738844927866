"""`pond-tuned.toml`: it says what differs, loads through `--config`, and overwrites nobody's work."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import UsageError
from features.shop import create_shop
from tests import worlds
from training.settings import RunSettings, merge_settings
from training.tuned_file import check_place, differences, toml_text, write_tuned
from training.tuning_space import with_values

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
plain = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | texts
tables = st.recursive(
    st.dictionaries(texts, plain | st.lists(plain, max_size=3), max_size=3),
    lambda below: st.dictionaries(texts, plain | below, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, tables, max_size=3))
def test_what_is_written_is_what_is_read(tree):
    assert tomllib.loads(toml_text(tree)) == tree


@pytest.fixture
def shop(tmp_path):
    made = create_shop(tmp_path, "toy", worlds.TIMEZONE)
    with made.config_file.open("a") as file:
        file.write("[scenes.home.sources]\nrepeat = 1.0\npopular = 0.5\n[sources.als]\ndim = 16\n")
    return made


def test_the_file_gives_the_tuned_settings_through_config(shop, tmp_path):
    own, other = tmp_path / "own.toml", tmp_path / "pond-tuned.toml"
    own.write_text('[scenes."开 门".sources]\nrepeat = 1.0\n[ranker]\nobjectives = ["binary"]\n[training]\nseed = 7\n')
    bare, started = merge_settings(shop, {}), merge_settings(shop, {}, own, ["sources.als.alpha=2.5"])
    values = {("scenes", "home", "sources", "popular"): 0.01234, ("sources", "als", "epochs"): 3}
    best = RunSettings(started.training, with_values(started.pipeline, values))
    write_tuned(other, ["two\nlines"], differences(bare, best))
    loaded = merge_settings(shop, {}, other)
    assert loaded.pipeline.digest == best.pipeline.digest
    assert loaded.training == best.training
    tree = tomllib.loads(other.read_text("utf-8"))
    assert tree["sources"] == {"als": {"alpha": 2.5, "epochs": 3}}
    assert tree["scenes"]["home"] == {"sources": {"repeat": 1.0, "popular": 0.01234}}


def test_equal_settings_differ_in_nothing(shop):
    assert differences(merge_settings(shop, {}), merge_settings(shop, {})) == {}


def test_a_file_of_somebody_else_is_refused_unless_forced(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[ranker]\n")
    with pytest.raises(UsageError, match=r"not written by pond tune.*--force"):
        check_place(path, force=False)
    check_place(path, force=True)


def test_an_earlier_result_is_replaced(tmp_path):
    path = tmp_path / "pond-tuned.toml"
    check_place(path, force=False)
    write_tuned(path, ["first"], {"ranker": {"l2": 1.0}})
    check_place(path, force=False)
    write_tuned(path, ["second"], {})
    assert "first" not in path.read_text("utf-8")


def test_a_place_that_cannot_be_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing" / "tuned.toml"):
        with pytest.raises(UsageError, match="--out"):
            check_place(path, force=True)
