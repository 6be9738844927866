"""What the service says of itself: JSON logs, metrics of all workers together, traces when an endpoint is set.

Logs and metrics never hold a key, a body or a customer's id: paths appear as their templates, customers as stand-ins
(`features/masking.py`).
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
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from features.masking import Mask, without_secrets

MULTIPROC_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
OURS: Final = "pond"
# Fields of a log line that name a person; whoever logs one more person's field adds it here.
PERSONAL: Final = frozenset(
    {
        "customer_id",
        "customer",
        "canonical_id",
        "into",
        "alias",
        "other_id",
        "id_value",
        "openid",
        "advisor_id",
        "inviter_id",
    }
)
BUCKETS_S: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def request_id_of(offered: str | None) -> str:
    """Return the caller's request id when it is harmless to print, else a fresh one."""
    return offered if offered and REQUEST_ID.fullmatch(offered) else secrets.token_hex(8)


def configure_logs(home: Path) -> None:
    """Print every log line of this process, ours and the libraries', as one JSON object on stderr, masked."""
    mask = Mask.of(home)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars, partial(_with_process, os.getpid()),
        structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True),
        partial(_masked, mask),
    ]  # fmt: skip
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # A line in one write: all processes share one stream, and print's two would let lines run into each other.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr), cache_logger_on_first_use=True,
    )  # fmt: skip
    lines = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
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


def _masked(mask: Mask, _logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    """Replace what is personal, cut out what is secret, and write the traceback without values."""
    told = line.pop("exc_info", None)
    error = told[1] if isinstance(told, tuple) else told if isinstance(told, BaseException) else sys.exc_info()[1]
    if told and error is not None:
        line["exception"] = mask.trace(error)
    is_ours = str(line.get("logger", OURS)).startswith(OURS)
    for name, value in line.items():
        if name in PERSONAL and value is not None:
            line[name] = mask.stand_in(str(value))
        elif isinstance(value, str) and name not in ("exception", "timestamp"):
            # What libraries say of futures, requests and values is not worded by us.
            line[name] = without_secrets(value) if is_ours or name != "event" else mask.without_values(value)
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
        self.unheard = Counter(
            "pond_unheard_readings", "Readings of contents stored as events but not in the pulse.", ("shop",),
            registry=registry,
        )  # fmt: skip
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

    def exposition(self, *, by_shop: bool = True) -> bytes:
        """Return the text that Prometheus reads: all workers together where they share a directory.

        Without `by_shop` the shops are added together, so that nobody reads another shop's business from it.
        """
        directory, registry = os.environ.get(MULTIPROC_DIR), self._registry
        if directory and Path(directory).is_dir():
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call] # no types there
        if by_shop:
            return generate_latest(registry)
        together = CollectorRegistry()
        together.register(_ShopsTogether(registry))
        return generate_latest(together)


class _ShopsTogether(Collector):
    """The metrics of a registry with all shops added up: the labels that name what is a shop's own are left out."""

    OWN: Final = ("shop", "scene", "release")

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Return the sums."""
        for family in self._registry.collect():
            sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    kept = tuple((name, value) for name, value in sample.labels.items() if name not in self.OWN)
                    sums[sample.name, kept] = sums.get((sample.name, kept), 0.0) + sample.value
            family.samples = [Sample(name, dict(kept), value) for (name, kept), value in sums.items()]
            yield family


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
