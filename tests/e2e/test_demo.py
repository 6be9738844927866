"""The demo from files to answered calls, in a part of its shop; a second run uses what the first one made."""

import pytest
from rich.console import Console

from pond.cli.session import Session
from pond.demo.run import SHOP, run_demo
from service.guardian import is_running
from service.settings import ServiceSettings

HOUSEHOLDS = 60


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    home = tmp_path_factory.mktemp("demo")
    texts = []
    for _ in range(2):
        session = Session.of(home, {"POND_PORT": "0", "POND_TRAINING__BOOTSTRAP_SAMPLES": "100"}, quiet=True)
        # Wide enough that no name is broken over two lines.
        session.__dict__["out"] = Console(width=400, highlight=False)
        with session.out.capture() as caught:
            run_demo(session, keep_serving=False, n_households=HOUSEHOLDS)
        texts.append(caught.get())
    return home, *texts


def test_the_demo_answers_for_everybody(said):
    _, first, _ = said
    for part in ("a regular", "next basket", "baskets: home", "Somebody never seen", "Similar to", "discover again"):
        assert part in first
    assert "理由" in first
    assert "/docs" in first
    assert "mlflow ui" in first


def test_what_was_bought_is_not_discovered_again(said):
    _, first, _ = said
    bought = first.split("just bought '")[1].split("'")[0]
    before, after = first.split(": discover (")[1].split("just bought '")
    assert bought in before.replace("\n", " ")
    rows = [line for line in after.split("理由")[1].splitlines() if line.strip()]
    assert rows
    assert all(bought not in row for row in rows)


def test_a_second_run_uses_what_is_there(said):
    home, first, second = said
    assert "earlier run" not in first
    assert second.count("earlier run") == 2
    assert len([p for p in (home / "shops" / SHOP / "releases").iterdir() if p.is_dir()]) == 1
    assert "discover again" in second


def test_nothing_is_left_running(said):
    home, *_ = said
    assert not is_running(ServiceSettings.of({}, home=home))
