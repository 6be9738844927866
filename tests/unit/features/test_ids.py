import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import UsageError
from features.ids import IdMap, stable_hash, validated_shop_name


@given(st.lists(st.text(max_size=40).filter(lambda t: "\x00" not in t and t.isprintable()), unique=True, max_size=60))
def test_every_id_finds_its_index_and_back(texts):
    ids = IdMap.of(texts)
    assert [ids.idx(t) for t in texts] == list(range(len(texts)))
    assert [ids.text(i) for i in range(len(texts))] == texts == list(ids.texts)


def test_unknown_id_is_minus_one():
    ids = IdMap.of(["a", "茶", "🍵/x y"])
    assert ids.idx("b") == -1
    assert list(ids.idxs(["茶", "b", "🍵/x y"])) == [1, -1, 2]
    assert "茶" in ids
    assert 3 not in ids


def test_an_empty_map_knows_nobody():
    assert IdMap.of([]).idx("a") == -1


def test_duplicates_are_refused():
    with pytest.raises(ValueError, match="unique"):
        IdMap.of(["a", "a"])


def test_hash_is_the_same_in_every_process():
    assert stable_hash("pond") == 4197414000058333046


@pytest.mark.parametrize("name", ["a", "tea-shop", "0", "a" * 41])
def test_shop_names_that_work(name):
    assert validated_shop_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a" * 42, "a/b", "..", "a\n", "茶", "a_b"])
def test_shop_names_that_could_leave_the_directory_are_refused(name):
    with pytest.raises(UsageError, match="cannot name a shop"):
        validated_shop_name(name)
