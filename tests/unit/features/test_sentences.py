"""Counts have their noun's right form; what a setting must be is said without pydantic's words."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from features.sentences import counted, mistake, plain


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.5


class Told(BaseModel):
    model_config = ConfigDict(extra="forbid")

    n: int = Field(1, ge=1, le=9)
    k: tuple[PositiveInt, ...] = Field((1,), min_length=1)
    word: Literal["allow", "only"] = "allow"
    on: bool = True
    name: str = Field("a", min_length=1, max_length=3)
    inner: Inner = Inner()
    table: dict[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("given", "where", "said"),
    [
        ({"n": "many"}, "n", "must be a whole number, not 'many'"),
        ({"n": 1.5}, "n", "must be a whole number, not 1.5"),
        ({"n": 0}, "n", "must be at least 1, not 0"),
        ({"n": 10}, "n", "must be at most 9, not 10"),
        ({"k": 5}, "k", "must be a list, not 5"),
        ({"k": []}, "k", "must hold at least 1, not []"),
        ({"k": [0]}, "k.0", "must be above 0, not 0"),
        ({"word": "some"}, "word", "must be 'allow' or 'only', not 'some'"),
        ({"on": 7}, "on", "must be true or false, not 7"),
        ({"name": 7}, "name", "must be a text, not 7"),
        ({"name": ""}, "name", "must have at least 1 character, not ''"),
        ({"name": "long" * 30}, "name", "may have at most 3 characters, not 'longlonglonglonglonglonglonglonglonglon…"),
        ({"inner": 5}, "inner", "must be a table, not 5"),
        ({"table": 5}, "table", "must be a table, not 5"),
        ({"inner": {"share": 1}}, "inner.share", "must be below 1, not 1"),
        ({"inner": {"share": float("nan")}}, "inner.share", "must be a finite number, not nan"),
        ({"nn": 1}, "nn", "is no setting or field that is known"),
    ],
)
def test_what_a_setting_must_be_is_said_plainly(given: dict[str, Any], where: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Told.model_validate(given)
    assert mistake(caught.value) == (where, said)


def test_what_is_missing_is_named() -> None:
    class Needs(BaseModel):
        sources: int

    with pytest.raises(ValidationError) as caught:
        Needs.model_validate({})
    assert mistake(caught.value) == ("sources", "is required")
    assert [plain(one) for one in caught.value.errors()] == ["is required"]


def test_one_is_no_plural() -> None:
    assert [counted(n, "customer") for n in (0, 1, 2, 1234)] == [
        "0 customers", "1 customer", "2 customers", "1,234 customers"
    ]  # fmt: skip
