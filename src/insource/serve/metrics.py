"""The gateway in numbers, for Prometheus. What is said of calls is counted from their records as they are kept.

A count is a handful of additions in plain dictionaries; their exposition is made when somebody asks for it. Names of
tasks, engines and tenants are ours or the owner's, never a caller's text, and of each kind there are `MOST` at most.
"""

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from insource import __version__
from insource.errors import InsourceError
from insource.nouns import Record
from insource.serve.outage import KINDS, Seen
from insource.serve.told import result_of, status_of

REPLICA = ("engine", "replica")
MOST, OTHERS, NO_TASK = 100, "others", "-"
CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
PLACE = r"\s*;\s*(?:version=[0-9.]{1,9}|(?!version)[a-z]{1,9}=[a-zA-Z0-9.-]{1,16})"
FORMAT = re.compile(rf"\s*(?:application/openmetrics-text|text/plain)(?:{PLACE})*\s*")
WRITE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)


@dataclass(frozen=True)
class Now:
    """What is read when somebody asks. `waiting` is None where the store did not say, `spool` where there is none.

    `cache` says how often there was an answer to give again, `kept` how many there are and their bytes. `alerts` are
    the open ones, by task and cause. At `unasked` calls of trials the other release was not asked. `replicas` says of
    an engine's replica whether it is not asked, and its calls under way.
    """

    in_flight: int
    queue: int
    live: Mapping[str, str]
    servers: Mapping[str, bool]
    waiting: Mapping[str, int] | None
    cache: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    kept: tuple[int, int] = (0, 0)
    spool: Seen | None = None
    alerts: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    unasked: int = 0
    replicas: Mapping[tuple[str, str], tuple[bool, int]] = field(default_factory=dict)


Counts = Mapping[tuple[str, ...], float]


class _Histogram:
    """Counts by bucket, and the sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """How many were at most each bound."""
        total, found = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class _Names(dict[str, str]):
    """The first `MOST` names of a kind, each as it is counted; later ones are `OTHERS`."""

    def __missing__(self, name: str) -> str:
        if len(self) >= MOST:
            return OTHERS
        self[name] = name
        return name


@dataclass(slots=True)
class _Paid:
    """Calls on record, and US dollars."""

    calls: int = 0
    usd: float = 0.0


@dataclass(slots=True)
class _Asked:
    """How often an engine was asked with one result, how often it `said` something, tokens and US dollars."""

    asked: int = 0
    said: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0


class Metrics:
    """The counts of one process, from its start."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)
        self._tasks, self._engines, self._tenants = _Names(), _Names(), _Names()
        self._calls: Counter[tuple[str, int, str, int]] = Counter()
        self._seconds: defaultdict[str, _Histogram] = defaultdict(lambda: _Histogram(CALL_S))
        self._asked: defaultdict[tuple[str, str, str], _Asked] = defaultdict(_Asked)
        self._paid: defaultdict[str, _Paid] = defaultdict(_Paid)
        self._refused: Counter[tuple[str, ...]] = Counter()
        self._write = _Histogram(WRITE_S)
        self._unwritten = 0

    def kept(self, record: Record, write_s: float) -> None:
        """Counts a call whose record is durable; writing it took `write_s` seconds."""
        task = self._tasks[record.task or NO_TASK]
        self._calls[task, record.tier, record.outcome, status_of(record)] += 1
        self._seconds[task].add(record.latency_ms / 1000)
        for attempt in record.attempts:
            row = self._asked[task, self._engines[attempt.decision.engine or NO_TASK], result_of(attempt)]
            row.asked += 1
            row.usd += attempt.usd
            if attempt.prediction is not None:
                usage = attempt.prediction.usage
                row.said += 1
                row.tokens_in += usage.input_tokens
                row.tokens_out += usage.output_tokens
        paid = self._paid[self._tenants[record.tenant]]
        paid.calls += 1
        paid.usd += record.usd
        self._write.add(write_s)

    def unwritten(self) -> None:
        """Counts a call whose record the store did not take."""
        self._unwritten += 1

    def refused(self, error: InsourceError) -> None:
        """Counts a call that was turned away and has no record."""
        self._refused[error.code, str(error.status)] += 1

    def page(self, now: Now, accept: str = "") -> tuple[bytes, str]:
        """The exposition, and its content type, in the format that `accept` asks for."""
        return exposed(self.families(now), accept)

    def families(self, now: Now) -> list[Metric]:
        """Everything that is counted."""
        spool = _spool(now.spool) if now.spool else ()
        return [*self._counts(), *_gauges(now), _cache(now), _unasked(now), *spool, *self._process.collect()]

    def _counts(self) -> Iterator[Metric]:
        calls: Counts = {(task, str(tier), *of, str(status)): n for (task, tier, *of, status), n in self._calls.items()}
        attempts, tokens, cost = self._sums()
        by_tenant: Counts = {(tenant,): paid.calls for tenant, paid in self._paid.items()}
        tenant_cost: Counts = {(tenant,): paid.usd for tenant, paid in self._paid.items()}
        for name, words, labels, counts in (
            ("calls", "Calls on record, by what became of them.", ("task", "tier", "outcome", "status"), calls),
            ("attempts", "Engines asked, by what came of it.", ("engine", "result"), attempts),
            ("tokens", "Tokens of every engine that was asked.", ("task", "engine", "direction"), tokens),
            ("cost_usd", "US dollars at the prices of insource.toml.", ("task", "engine"), cost),
            ("tenant_calls", "Calls on record, by who pays.", ("tenant",), by_tenant),
            ("tenant_cost_usd", "US dollars, by who pays.", ("tenant",), tenant_cost),
            ("refused", "Calls turned away before they were begun.", ("code", "status"), self._refused),
        ):
            yield _counter(f"insource_{name}", words, labels, counts)
        seconds = HistogramMetricFamily(
            "insource_call_seconds", "From the call's arrival to its record.", labels=("task",)
        )
        for task, histogram in self._seconds.items():
            seconds.add_metric((task,), histogram.buckets(), histogram.sum)
        yield seconds
        write = HistogramMetricFamily("insource_store_write_seconds", "Until a record was durable.")
        write.add_metric((), self._write.buckets(), self._write.sum)
        yield write
        failures = CounterMetricFamily("insource_store_write_failures", "Records that the store did not take.")
        failures.add_metric((), self._unwritten)
        yield failures

    def _sums(self) -> tuple[Counts, Counts, Counts]:
        """Of the engines that were asked: the attempts, the tokens and what they cost."""
        attempts: defaultdict[tuple[str, ...], float] = defaultdict(float)
        tokens, cost = attempts.copy(), attempts.copy()
        for (task, engine, result), row in self._asked.items():
            attempts[engine, result] += row.asked
            if row.said:
                tokens[task, engine, "in"] += row.tokens_in
                tokens[task, engine, "out"] += row.tokens_out
            if row.usd:
                cost[task, engine] += row.usd
        return attempts, tokens, cost


def exposed(families: Iterable[Metric], accept: str) -> tuple[bytes, str]:
    """As `Metrics.page`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    encode, kind = choose_encoder(_asked(accept))
    return encode(registry), kind


class _Once:
    """A collector of what was collected."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        """The families."""
        return self._families


def _counter(name: str, words: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, words, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _cache(now: Now) -> Metric:
    words = "Calls that may be answered by what was answered before, by whether they were."
    return _counter("insource_cache", words, ("task", "result"), now.cache)


def _unasked(now: Now) -> Metric:
    words = "Calls of releases on trial at which the other release was not asked, since too many waited."
    return _counter("insource_trial_unasked", words, (), {(): now.unasked})


def _gauges(now: Now) -> Iterator[Metric]:
    waiting = {(task,): count for task, count in (now.waiting or {}).items()}
    live = dict.fromkeys(now.live.items(), 1)
    servers = {(name,): int(rests) for name, rests in now.servers.items()}
    rests = {name: int(rests) for name, (rests, _) in now.replicas.items()}
    calls = {name: calls for name, (_, calls) in now.replicas.items()}
    for name, words, labels, values in (
        ("in_flight", "Calls being answered.", (), {(): now.in_flight}),
        ("queue_limit", "Calls that may be in flight; one more is turned away.", (), {(): now.queue}),
        ("store_up", "1 while the store answers.", (), {(): int(now.waiting is not None)}),
        ("review_waiting", "Answers that wait for a person.", ("task",), waiting),
        ("live_release", "1 for the release that answers a task.", ("task", "release"), live),
        ("server_rests", "1 while a server is not asked because it failed.", ("engine",), servers),
        ("replica_rests", "1 while a replica is not asked because it failed.", REPLICA, rests),
        ("replica_calls", "Calls that are with a replica.", REPLICA, calls),
        ("cache_entries", "Answers kept to be given again.", (), {(): now.kept[0]}),
        ("cache_bytes", "Memory that they take.", (), {(): now.kept[1]}),
        ("alerts", "1 for what a person should look at.", ("task", "cause"), now.alerts),
        ("build_info", "The version that runs.", ("version",), {(__version__,): 1}),
    ):  # fmt: skip
        family = GaugeMetricFamily(f"insource_{name}", words, labels=labels)
        for label, value in values.items():
            family.add_metric(label, value)
        yield family


def _spool(seen: Seen) -> Iterator[Metric]:
    words = "Intents and records that went to the spool."
    yield _counter("insource_spooled", words, ("kind",), {(kind,): seen.lines.get(kind, 0) for kind in KINDS})
    yield GaugeMetricFamily("insource_spooling", "1 while calls go to the spool.", value=int(seen.away))
    yield GaugeMetricFamily("insource_spool_bytes", "What lies in the spool.", value=seen.bytes)


def _asked(accept: str) -> str:
    """The first format in an Accept header that is written as formats are: others break the encoder's choice."""
    return next((one for one in accept.split(",") if FORMAT.fullmatch(one)), "")
