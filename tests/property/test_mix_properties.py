from hypothesis import given
from hypothesis import strategies as st

from models.rank.mix import APART, mixed

SHARES = st.dictionaries(st.sampled_from("abc"), st.floats(0.05, 1), min_size=1)


@given(SHARES, st.integers(0, 40))
def test_every_beginning_holds_about_the_shares_asked_for(shares, k):
    lists = {kind: [(kind, n) for n in range(k)] for kind in shares}
    chosen = mixed(lists, shares, k)
    total = sum(shares.values())
    for n in range(1, k + 1):
        for kind, share in shares.items():
            assert abs(sum(one == kind for one, _ in chosen[:n]) - n * share / total) < 1.5
    for kind in shares:
        own = [n for one, n in chosen if one == kind]
        assert own == sorted(own)


@given(SHARES, st.dictionaries(st.sampled_from("abc"), st.integers(0, 6)), st.integers(0, 20))
def test_a_kind_that_runs_out_leaves_its_places_to_the_others(shares, sizes, k):
    lists = {kind: [(kind, n) for n in range(sizes.get(kind, 0))] for kind in shares}
    chosen = mixed(lists, shares, k)
    assert len(chosen) == min(k, sum(len(one) for one in lists.values()))
    assert len(set(chosen)) == len(chosen)


@given(st.lists(st.integers(0, 5), max_size=12), st.lists(st.integers(0, 5), max_size=12))
def test_what_repeats_a_neighbour_waits_while_anything_else_is_left(one, other):
    chosen = mixed({"a": [("a", n) for n in one], "b": [("b", n) for n in other]}, {"a": 1, "b": 1}, 24,
                   lambda x, y: x[1] == y[1])  # fmt: skip
    for place, pick in enumerate(chosen):
        if any(pick[1] == near[1] for near in chosen[max(0, place - APART) : place]):
            near = {n for _, n in chosen[max(0, place - APART) : place]}
            assert all(n in near for _, n in chosen[place:])
            break
