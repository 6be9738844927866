import pytest
from pydantic import ValidationError

from service.faults import _UNKNOWN, sentence_of
from service.records import BundleIn, ConsentIn, ProductIn
from service.schemas import EventIn, RecommendRequest

GOOD = {"customer_id": "a"}


@pytest.mark.parametrize(
    ("model", "body", "sentence"),
    [
        (RecommendRequest, {}, "is required"),
        (RecommendRequest, GOOD | {"k": 0}, "must be at least 1"),
        (RecommendRequest, GOOD | {"k": "x"}, "must be a whole number"),
        (RecommendRequest, GOOD | {"k": 1.5}, "must be a whole number"),
        (RecommendRequest, GOOD | {"colour": 1}, "is not a field here; leave it out or mend its name"),
        (RecommendRequest, {"customer_id": "x" * 257}, "may have at most 256 characters"),
        (RecommendRequest, {"customer_id": "a\0"}, "must not contain the character NUL"),
        (RecommendRequest, GOOD | {"pins": "a"}, "must be a list in square brackets"),
        (RecommendRequest, GOOD | {"context": 1}, "must be a JSON object in braces"),
        (ProductIn, {"price": float("nan")}, "must be a finite number"),
        (ProductIn, {"price": 1e13}, "must be at most 1000000000000"),
        (BundleIn, {"product_ids": []}, "must hold at least 1"),
        (ConsentIn, {"purpose": "x", "state": "maybe"}, "must be 'on' or 'off'"),
        (EventIn, {"event_id": "e", "customer_id": "c", "kind": "view", "at": "soon"},
         "is not an ISO 8601 moment such as 2025-03-01T09:30:00+08:00"),
    ],
)  # fmt: skip
def test_the_commonest_faults_are_told_in_plain_sentences(model, body, sentence):
    with pytest.raises(ValidationError) as refused:
        model.model_validate(body)
    assert sentence in {sentence_of(error) for error in refused.value.errors()}


def test_a_fault_of_an_unknown_kind_says_where_to_look():
    assert sentence_of({"type": "new_kind", "loc": (), "input": 1, "msg": "Input should be purple"}) == _UNKNOWN
