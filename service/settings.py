"""What the service is told: one frozen value, read from arguments and `POND_*` once, at the start of a command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.errors import UsageError
from features.sentences import plain

PREFIX: Final = "POND_"


class ServiceSettings(BaseModel):
    """Where the service lives and what it allows; precedence: defaults < `POND_*` < arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(Path("./var"), description="POND_HOME: everything Pond keeps on disk.")
    redis_url: str | None = Field(
        None, description="A Redis-protocol server; without it Pond starts its own under home.", repr=False
    )
    control_url: str | None = Field(
        None, description="SQLAlchemy URL of the control plane; without it <home>/control.db.", repr=False
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8600, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(1, ge=1, le=256, description="Worker processes.")
    spool_dir: Path | None = Field(None, description="Decisions wait here while the state server is away; home/spool.")
    metrics_token: Annotated[str, Field(min_length=16)] | None = Field(
        None, description="Bearer token that shows each shop's counts in /metrics and /health/ready; without it only "
        "a service that listens on this machine alone shows them, any other adds the shops together.", repr=False,
    )  # fmt: skip
    otlp_endpoint: str | None = Field(None, description="OpenTelemetry collector; without it no traces leave.")

    partitions: int = Field(16, ge=1, le=1024, description="Journal partitions of a shop, fixed when it is created.")
    connect_ms: int = Field(50, ge=1, le=60_000, description="Deadline for a connection to the state server, ms.")
    read_ms: int = Field(50, ge=1, le=60_000, description="Deadline for one round trip of a decision, ms.")
    write_ms: int = Field(2_000, ge=1, le=60_000, description="Deadline for one round trip of a batch of events, ms.")
    connections: int = Field(32, ge=1, le=1024, description="Connections to the state server per worker.")

    body_bytes: int = Field(16_000_000, ge=1_000, description="Largest request body.")
    body_seconds: float = Field(30.0, gt=0, le=3_600, description="Longest a request may take to send its body, s.")
    events_per_batch: int = Field(10_000, ge=1, le=10_000, description="Most events in one request.")
    recommend_batch: int = Field(1_000, ge=1, le=1_000, description="Most queries in one batch request.")
    audience_max: int = Field(10_000, ge=1, le=100_000, description="Most customers in an audience over HTTP.")
    group_members: int = Field(200, ge=1, le=1_000, description="Members of a group whose tastes are asked for.")
    group_least: int = Field(
        5, ge=3, le=1_000, description="With fewer counted members a group's list is not personal."
    )
    k_max: int = Field(200, ge=1, le=1_000, description="Longest slate a caller may ask for.")
    explore_share: float = Field(
        0.01, ge=0, le=1, description="Share of answers whose last places are drawn by chance with known odds."
    )
    requests_at_once: int = Field(64, ge=1, le=10_000, description="Requests a worker takes at once; more get 503.")

    tail_rows: int = Field(200, ge=1, le=5_000, description="Live events kept per customer, newest win.")
    tail_days: int = Field(90, ge=1, le=3_650, description="Days after the last event when a live tail is dropped.")
    dedupe_days: int = Field(7, ge=1, le=60, description="Days an event_id is remembered; older events are late.")
    state_memory_mb: int = Field(1_024, ge=0, description="Memory limit of the embedded server; full is 503. 0: none.")

    @classmethod
    def of(cls, env: Mapping[str, str], **arguments: Any) -> "ServiceSettings":
        """Build from an environment (`POND_PORT` → port …) and arguments; an argument of None is not given.

        Raises
        ------
        UsageError
            A value is out of its range or of another type; the sentence names the field.
        """
        fields = {name: env[PREFIX + name.upper()] for name in cls.model_fields if env.get(PREFIX + name.upper())}
        fields.update({name: value for name, value in arguments.items() if value is not None})
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            # Not `mistake`, which tells the value: a URL may hold a password.
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"The setting '{where}' ({PREFIX}{where.upper()}) is wrong: it {plain(first)}; mend it."
            ) from error

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in ("127.0.0.1", "::1", "localhost")

    @property
    def state_dir(self) -> Path:
        """Where the embedded server keeps its append-only file."""
        return self.home / "state"

    @property
    def spool(self) -> Path:
        """Where decisions wait while the state server is away."""
        return self.spool_dir or self.home / "spool"

    @property
    def control(self) -> str:
        """SQLAlchemy URL of the control plane."""
        return self.control_url or f"sqlite:///{self.home.resolve() / 'control.db'}"
