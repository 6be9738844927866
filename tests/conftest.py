"""Shared fixtures: one real Valkey for the session, one shop of its own for every test."""

import secrets
from collections.abc import Iterator

import pytest

from service import guardian
from service.guardian import StateServer
from service.settings import ServiceSettings


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
