"""What each source answers in the world of two tastes, written down: a change here is a change for customers."""

import numpy as np
import pytest

from models.catalogue import SOURCES
from tests.worlds import query, two_tastes

WORLD = two_tastes()
TEA_3 = {
    "popular": ["bread", "coffee4", "tea4", "coffee3"],
    "repeat": ["bread", "tea4", "tea2", "tea1"],
    "next_basket": ["bread", "tea3", "tea4", "tea2"],
    "userknn": ["tea3", "bread", "tea1", "tea2"],
    "itemknn": ["bread", "tea3", "tea1", "tea2"],
    "sequence": ["bread", "tea4", "tea3", "tea2"],
    "gf_cf": ["tea3", "tea0", "tea1", "tea2"],
    "ease": ["tea3", "bread", "tea1", "tea2"],
    "als": ["bread", "tea4", "tea3", "tea2"],
    "hybrid": ["bread", "tea4", "tea3", "tea2"],
    "content_based": ["tea4", "tea2", "tea1", "tea0"],
    "completion": ["tea3", "tea-new", "coffee0", "coffee1"],
    "own_kinds": ["tea4", "tea3", "tea2", "tea1"],
    "newest": ["tea-new"],
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_answer_is_the_one_written_down(name: str):
    entry = SOURCES[name]
    found = entry.fit(WORLD, entry.config(), np.random.default_rng(0)).candidates(query(WORLD, "tea-3"), 4)
    assert [WORLD.products.ids.text(int(i)) for i in found.item_idx] == TEA_3[name]
