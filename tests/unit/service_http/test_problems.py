import inspect

import pytest
from starlette.exceptions import HTTPException

from features import errors
from features.errors import ArtifactCorrupt, ContractError, PondError, ServiceUnreachable
from models.errors import CannotServe
from service import problems
from service.auth import NotAuthenticated
from service.problems import KINDS, LimitExceeded, NothingStored, UnknownScene, answered, kind_of, problem_of
from service.schemas import EventResult


def test_every_error_of_the_tree_has_a_kind():
    tree = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, PondError)]
    tree += [cls for _, cls in inspect.getmembers(problems, inspect.isclass) if issubclass(cls, PondError)]
    for cls in tree:
        assert next(parent for parent in cls.__mro__ if parent in KINDS)


def test_codes_are_stable_and_of_one_status_each():
    codes = {kind.code: kind.status for kind in KINDS.values()}
    assert len(codes) == len(KINDS)
    assert (codes["unknown_scene"], codes["state_unreachable"], codes["no_release"]) == (404, 503, 503)


def test_an_unknown_scene_names_the_scenes_there_are():
    told = problem_of(UnknownScene(("rebuy", "home")), "r1")
    assert (told.status, told.scenes, told.request_id) == (404, ["home", "rebuy"], "r1")
    assert told.type == "urn:pond:problem:unknown_scene"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("secret"), 500),
        (CannotServe("als", "secret"), 500),
        (ArtifactCorrupt("/secret/path", "flipped"), 503),
    ],
)
def test_what_is_not_for_callers_is_not_told(error, status):
    told = problem_of(error)
    assert told.status == status
    assert "secret" not in told.model_dump_json()


def test_what_helps_callers_is_told():
    assert problem_of(ContractError("events", "at", "is no moment")).detail == "events.at: is no moment"
    assert "at most 7" in problem_of(LimitExceeded("k", 7)).detail
    assert problem_of(HTTPException(405)).code == "method_not_allowed"
    assert problem_of(HTTPException(418, "teapot")).status == 418


def test_a_conflict_outweighs_what_is_merely_invalid():
    wrong = EventResult(event_id="a", result="invalid")
    assert kind_of(NothingStored([wrong])).status == 422
    assert kind_of(NothingStored([wrong, EventResult(event_id="b", result="conflict")])).status == 409


def test_answers_say_when_to_come_again_and_how_to_identify():
    away = answered(problem_of(ServiceUnreachable("away")))
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert away.media_type == "application/problem+json"
    assert answered(problem_of(NotAuthenticated("no"))).headers["www-authenticate"] == "Bearer"
