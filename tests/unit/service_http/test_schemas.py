import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.records import CustomerIn, ProductIn, at_of
from service.schemas import EventIn, RecommendRequest, iso


def event(**more):
    return EventIn.model_validate({"event_id": "e", "customer_id": "c", "kind": "view", "at": 1_740_000_000} | more)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=256))
def test_any_text_without_nul_is_an_id(text):
    assert RecommendRequest(customer_id=text).customer_id == text


@pytest.mark.parametrize("wrong", ["", "x" * 257, "a\0b", "\ud800", 7, None])
def test_what_is_no_id_is_refused(wrong):
    with pytest.raises(ValidationError):
        RecommendRequest(customer_id=wrong)


def test_k_is_between_one_and_a_thousand():
    for k in (1, 1000):
        assert RecommendRequest(customer_id="a", k=k).k == k
    for k in (0, 1001, 2.5, "x"):
        with pytest.raises(ValidationError):
            RecommendRequest(customer_id="a", k=k)


@pytest.mark.parametrize(
    "at",
    [1_740_805_200, 1_740_805_200_000, 1_740_805_200_000_000, 1_740_805_200.0, "2025-03-01T05:00:00Z",
     "2025-03-01T13:00:00+08:00", "2025-03-01 13:00:00"],
)  # fmt: skip
def test_moments_come_in_every_usual_form(at):
    assert at_of(event(at=at).at, "Asia/Shanghai") == 1_740_805_200_000_000


@pytest.mark.parametrize("at", ["yesterday", True, None, 5, 10**18, "0001-01-01", float("inf")])
def test_impossible_moments_are_refused(at):
    with pytest.raises(ValidationError):
        event(at=at)


@given(st.integers(0, 4 * 10**15))
def test_moments_are_written_exactly(at):
    assert at_of(event(at=max(at, 10**15)).at, "UTC") == max(at, 10**15)
    assert iso(at).startswith(("19", "20"))


def test_a_price_range_that_holds_nothing_is_refused():
    with pytest.raises(ValidationError, match="price_min is above price_max"):
        RecommendRequest.model_validate({"customer_id": "a", "filters": {"price_min": 2, "price_max": 1}})


def test_misspelt_fields_and_unknown_kinds_are_refused():
    for wrong in ({"knd": "view"}, {"kind": "dance"}, {"item_kind": "thing"}, {"quantity": 0}, {"price": -1},
                  {"position": -1}, {"value": float("nan")}, {"quantity": 1e300}, {"price": 10**400}):  # fmt: skip
        with pytest.raises(ValidationError):
            event(**wrong)


def test_a_record_becomes_a_row_of_its_table():
    told = ProductIn(title="茶", created_at="2025-01-01", attributes={"b": 1, "a": "é"}, tags=["x"], stock=0)
    assert told.row("product_id", "p", 5, "Asia/Shanghai") == {
        "product_id": "p", "valid_from": 5, "title": "茶", "created_at": 1_735_660_800_000_000,
        "attributes": '{"a":"é","b":1}', "tags": ["x"], "stock": 0,
    }  # fmt: skip


def test_attributes_that_json_cannot_hold_are_refused():
    for wrong in ({"a": float("nan")}, {"a": "\ud800"}):
        with pytest.raises(ValidationError):
            CustomerIn(attributes=wrong)
    with pytest.raises(ValidationError, match="IANA"):
        CustomerIn(timezone="Mars/Base")
