"""What the service says of itself: JSON logs, metrics of all workers together, traces when an endpoint is set.

Logs and metrics never hold a key, a body or a customer's id: paths appear as their templates, customers as `masked`.
"""

import logging
import os
import re
import secrets
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from features.ids import stable_hash

MULTIPROC_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
BUCKETS_S: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def masked(customer_id: str) -> str:
    """Return a stand-in by which log lines of one customer can be found without naming him."""
    return f"c-{stable_hash(customer_id):016x}"


def request_id_of(offered: str | None) -> str:
    """Return the caller's request id when it is harmless to print, else a fresh one."""
    return offered if offered and REQUEST_ID.fullmatch(offered) else secrets.token_hex(8)


def configure_logs() -> None:
    """Print every log line of this process, ours and the libraries', as one JSON object on stderr."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars, partial(_with_process, os.getpid()),
        structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]  # fmt: skip
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # A line in one write: all processes share one stream, and print's two would let lines run into each other.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr), cache_logger_on_first_use=True,
    )  # fmt: skip
    lines = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _with_process(pid: int, _logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    line["pid"] = pid
    return line


class Metrics:
    """Counters of one worker; with `PROMETHEUS_MULTIPROC_DIR` set before the process began, those of all workers."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "pond_requests", "Requests by path and status.", ("method", "path", "status"), registry=registry
        )
        self.latency = Histogram(
            "pond_request_seconds", "Time to answer.", ("path",), registry=registry, buckets=BUCKETS_S
        )
        self.picks = Counter("pond_picks", "Places served, by what chose them.", ("shop", "stage"), registry=registry)
        self.answers = Counter("pond_answers", "Slates served.", ("shop", "scene"), registry=registry)
        self.degraded = Counter(
            "pond_degraded_answers", "Slates that were less than they should be.", ("shop", "cause"), registry=registry
        )
        self.events = Counter("pond_events", "Events by what became of them.", ("shop", "result"), registry=registry)
        self.spooled = Counter("pond_spooled_decisions", "Decisions kept on disk.", ("shop",), registry=registry)
        self.replayed = Counter("pond_replayed_decisions", "Decisions brought back from disk.", registry=registry)
        self.refused = Counter("pond_busy", "Requests refused because a worker was at its limit.", registry=registry)
        self.reloads = Counter("pond_reloads", "Releases swapped in.", ("shop",), registry=registry)
        self.reload_failures = Counter(
            "pond_reload_failures", "Releases refused; the one before goes on serving.", ("shop",), registry=registry
        )
        self.serving = Gauge(
            "pond_release_serving", "Workers that serve a release.", ("shop", "release"), registry=registry,
            multiprocess_mode="livesum",
        )  # fmt: skip

    def count_answer(self, shop: str, scene: str, stages: Iterable[str], causes: Iterable[str]) -> None:
        """Count a slate, what chose each of its places, and what degraded it."""
        self.answers.labels(shop, scene).inc()
        for stage in stages:
            self.picks.labels(shop, stage).inc()
        for cause in causes:
            self.degraded.labels(shop, cause).inc()

    def count_spooled(self, shop: str) -> None:
        """Count a decision that goes to the disk."""
        self.spooled.labels(shop).inc()

    def count_swap(self, shop: str, before: str | None, now: str) -> None:
        """Count that another release serves."""
        self.reloads.labels(shop).inc()
        if before is not None:
            self.serving.labels(shop, before).set(0)
        self.serving.labels(shop, now).set(1)

    def exposition(self) -> bytes:
        """Return the text that Prometheus reads: all workers together where they share a directory."""
        directory = os.environ.get(MULTIPROC_DIR)
        if not directory or not Path(directory).is_dir():
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=directory)  # type: ignore[no-untyped-call] # the library has no types here
        return generate_latest(together)


def telemetry(endpoint: str | None) -> TelemetryConfig:
    """Return FastAPI's telemetry settings: traces to an OTLP endpoint, nothing at all without one."""
    if endpoint is None:
        return {"tracing": False, "metrics": False, "logs": False}
    # Heavy and optional: only a service that was given an endpoint pays for them.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": "pond"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    return {"tracing": True, "metrics": False, "logs": False, "tracer_provider": provider}
