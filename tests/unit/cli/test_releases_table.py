"""What `pond releases` says of gates."""

import pytest

from pond.cli.releases import gates_in_short


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({}, "nothing judged"),
        ({"a.home.recall@10": "pass; …", "a.home.ndcg@10": "pass; …"}, "2/2 pass"),
        ({"a.home.recall@10": "pass; …", "a.home.ndcg@10": "FAIL; …"}, "1/2 pass; failed: a.home.ndcg@10"),
        ({"a.home.recall@10": "FAIL; …", "first": "…"}, "0/1 pass; failed: a.home.recall@10 (first: serves anyway)"),
        ({"a.home.recall@10": "pass; …: too few to judge", "first": "…"}, "too few customers to judge"),
        (
            {"home": "pass; …: even", "rebuy": "pass; …: too few to judge", "cart": "pass; …: too few to judge"},
            "1/1 pass; 2 with too few customers to judge",
        ),
        (
            {"home": "FAIL; …: worse", "cart": "pass; …: too few to judge"},
            "0/1 pass; failed: home; 1 with too few customers to judge",
        ),
        ({"a": "better; …", "b": "even; …", "c": "better; …"}, "2 better, 1 even"),
    ],
)
def test_gates_are_counted_and_failures_named(gates, said):
    assert gates_in_short(gates) == said
