"""Shared fixtures: one real Valkey for the session, one shop of its own for every test."""

import secrets
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from service import guardian
from service.guardian import StateServer
from service.settings import ServiceSettings

# How long one example takes says how busy the machine is, nothing about what is tested.
settings.register_profile("pond", deadline=None)
settings.load_profile("pond")


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
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Say how much was tried, also where output is captured: a promise is worth what it was tested with."""

    def tell(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return tell
