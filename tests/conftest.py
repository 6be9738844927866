"""Shared fixtures: one real Valkey for every test process, one shop of its own for every test; and who runs what."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from service import guardian
from service.guardian import StateServer
from service.settings import ServiceSettings

# How long one example takes says how busy the machine is, nothing about what is tested.
settings.register_profile("pond", deadline=None)
settings.load_profile("pond")

TRIED: Final = "tried"
FAULTS: Final = "tests/faults/"
LONGEST: Final = (FAULTS, "tests/e2e/", "tests/integration/")


@pytest.fixture(scope="session")
def state_settings(tmp_path_factory: pytest.TempPathFactory) -> ServiceSettings:
    # Deadlines are for a machine that runs other tests beside these; the faults are tested with their own.
    return ServiceSettings.of(
        {}, home=tmp_path_factory.mktemp("home"), connect_ms=5_000, read_ms=5_000, write_ms=10_000
    )


@pytest.fixture(scope="session")
def state_server(state_settings: ServiceSettings) -> Iterator[StateServer]:
    """A real embedded server, stopped at the end whatever the tests did."""
    try:
        yield guardian.start_or_join(state_settings)
    finally:
        guardian.stop(state_settings)


@pytest.fixture
def shop() -> str:
    """A shop name no other test uses."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say how much was tried, shown at the end whichever process tried: a promise is worth what it was tested with."""
    return lambda text: record_property(TRIED, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        f"{report.location[2]}: {text}"
        for report in terminalreporter.getreports("passed")
        for name, text in report.user_properties
        if name == TRIED
    ]
    if told:
        terminalreporter.section("what was tried")
        terminalreporter.write_line("\n".join(told))


class WholeFiles(LoadFileScheduling):
    """A file's tests stay in one process, with what they share; all fault tests do, so that none meets another's."""

    def _split_scope(self, nodeid: str) -> str:
        return FAULTS if nodeid.startswith(FAULTS) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WholeFiles:
    return WholeFiles(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes none shall wait at the end for another's long file: the rooms with long ones come first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [item.nodeid.startswith(room) for room in LONGEST], reverse=True)
