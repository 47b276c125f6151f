"""What is known of a task's use and cost: declared in its file, measured in its records and reports, or assumed."""

from collections.abc import Sequence
from datetime import datetime

from insource.journeys.loads import borne
from insource.measure.load import Load
from insource.nouns import WAITS, Attempt, Example, JsonObject, Noun, Record, Report, Task, to_json
from insource.nouns.pricing import TaskPricing
from insource.nouns.suitability import Answers
from insource.price.known import Known, Said, first
from insource.stats import quantile, wilson

CALLS_A_DAY, SPEED = "calls a day", "calls a machine answers"
CHARS, PROMPT = 4.0, 60.0  # characters of a token; tokens of what frames a prompt
FEWEST, LEAST_DAYS = 20, 1.0
CALLS, OUT, IN, PER_S = 1000.0, 20.0, 300.0, 2.0
ESCALATED, REVIEWED, MINUTES = 0.10, 0.05, 2.0
SALARY, REVIEWER, LABEL, ROWS, FTE = 150_000.0, 40.0, 0.50, 500.0, 0.25
TRAINING_H, TRAININGS = 1.0, 4.0


class Seen(Noun, frozen=True, kw_only=True):
    """What the newest `n` calls of a task show; None where they show nothing of it.

    `own` are tokens of the first engine asked where it has no price of its own, `bought` those of one that has.
    `escalated` and `reviewed` are how many of the `n` went on to another engine, and to a person. They came from the
    day `since` to the day `until`.
    """

    n: int = 0
    days: float = 0.0
    since: str = ""
    until: str = ""
    own: tuple[float, float] | None = None
    bought: tuple[float, float] | None = None
    escalated: int = 0
    reviewed: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    usd: float = 0.0

    @property
    def words(self) -> str:
        """Which calls these are."""
        return f"the newest {self.n:,} calls, {self.since} to {self.until}"

    @property
    def per_day(self) -> float | None:
        """Calls a day; None when there are too few, or all came on one day."""
        return self.n / self.days if self.n >= FEWEST and self.days >= LEAST_DAYS else None


class Facts(Noun, frozen=True, kw_only=True):
    """All that a bill is made of, of one task; `rows` are some of its labelled ones.

    `said` and `judged` are what its file declares of its price and of whether it suits. `automatic` is the share that a
    migration measured to be answered without anybody else, and which one that was.
    """

    task: Task
    said: TaskPricing
    seen: Seen
    judged: Answers = Answers()
    rows: tuple[Example, ...] = ()
    labelled: int = 0
    load: Load | None = None
    report: Report | None = None
    release: str = ""
    automatic: tuple[float, str] | None = None

    @property
    def above(self) -> bool:
        """Whether an engine is asked what is not answered automatically."""
        return bool(self.said.escalate_to) or any(name != "review" for name in self.task.risk.otherwise)


def seen(records: Sequence[Record]) -> Seen:
    """What calls show; those that failed, were interrupted or given from the cache are left out."""
    kept = [one for one in records if one.outcome not in ("failed", "interrupted") and not one.cached and one.attempts]
    if not kept:
        return Seen()
    ends = [datetime.fromisoformat(one.created) for one in (kept[0], kept[-1]) if one.created]
    times = sorted(one.latency_ms for one in kept)
    return Seen(
        n=len(kept),
        days=abs((ends[0] - ends[-1]).total_seconds()) / 86_400 if ends else 0.0,
        since=kept[-1].created[:10],
        until=kept[0].created[:10],
        own=_tokens([one.attempts[0] for one in kept if not one.attempts[0].usd]),
        bought=_tokens([attempt for one in kept for attempt in one.attempts if attempt.usd]),
        escalated=sum(any(attempt.prediction is not None for attempt in one.attempts[1:]) for one in kept),
        reviewed=sum(one.outcome in WAITS for one in kept),
        p50_ms=quantile(times, 0.5),
        p95_ms=quantile(times, 0.95),
        usd=sum(one.usd for one in kept),
    )


def calls_per_day(facts: Facts, asked: float | None) -> Known:
    """How many calls come on a day."""
    seen = facts.seen
    return first(
        CALLS_A_DAY,
        "calls",
        (asked, "declared", "--calls-per-day"),
        (facts.said.calls_per_day, "declared", "[price] calls_per_day"),
        (facts.judged.calls_per_day, "declared", "[suitability] calls_per_day"),
        (seen.per_day, "measured", f"{seen.words}, over {seen.days:.1f} days"),
        (CALLS, "assumed", "no records over a day or more: give --calls-per-day"),
    )


def input_tokens(facts: Facts) -> Known:
    """Tokens that an API reads in one call: the text, and the instruction that a specialist has learned."""
    said, seen = facts.said.tokens, facts.seen
    asking = _asking(facts.task)
    texts = [len(row.input) for row in facts.rows]
    own = None if seen.own is None else seen.own[0] + asking
    rows = None if not texts else sum(texts) / len(texts) / CHARS + asking
    return first(
        "input tokens of a call to an API",
        "tokens",
        (said.input if said else None, "declared", "[price] tokens"),
        (seen.bought[0] if seen.bought else None, "measured", bought(seen)),
        (own, "measured", f"{seen.words}; {asking:.0f} tokens of instruction assumed on top"),
        (rows, "assumed", f"{len(texts):,} labelled rows at {CHARS:g} characters a token, {asking:.0f} of instruction"),
        (IN, "assumed", "neither calls nor rows of the task"),
    )


def cached_tokens(facts: Facts) -> Known:
    """Input tokens that the provider has read before."""
    said = facts.said.tokens
    what = "no discount for what is read again: give [price] tokens"
    return first(
        "of them cached",
        "tokens",
        (said.cached if said else None, "declared", "[price] tokens"),
        (0.0, "assumed", what),
    )


def output_tokens(facts: Facts) -> Known:
    """Tokens that an API writes in one call."""
    said, seen = facts.said.tokens, facts.seen
    targets = [len(to_json(row.target)) for row in facts.rows]
    return first(
        "output tokens of a call to an API",
        "tokens",
        (said.output if said else None, "declared", "[price] tokens"),
        (seen.bought[1] if seen.bought else None, "measured", bought(seen)),
        (sum(targets) / len(targets) / CHARS if targets else None, "assumed",
         f"the targets of {len(targets):,} labelled rows at {CHARS:g} characters a token; no reasoning"),
        (OUT, "assumed", "neither calls nor rows of the task"),
    )  # fmt: skip


def escalated(facts: Facts) -> Known:
    """The share of calls that a stronger engine is asked as well."""
    nobody = None if facts.above else 0.0
    return first(
        "escalated share",
        "share",
        (facts.said.escalated, "declared", "[price] escalated"),
        (nobody, "declared", "[risk] else names no engine"),
        _share(facts.seen.escalated, facts.seen),
        _rest(facts),
        (ESCALATED, "assumed", "no records yet"),
    )


def reviewed(facts: Facts) -> Known:
    """The share of calls of which a person looks at the answer."""
    risk = facts.task.risk
    nobody = 0.0 if risk.max_error is None and risk.threshold is None else None
    return first(
        "reviewed share",
        "share",
        (facts.said.reviewed, "declared", "[price] reviewed"),
        _share(facts.seen.reviewed, facts.seen),
        (nobody, "declared", "[risk] has no limit: every valid answer is given"),
        _rest(facts) if not facts.above else (None, "assumed", ""),
        (REVIEWED, "assumed", "no records yet"),
    )


def reviewed_api(facts: Facts, own: Known) -> Known:
    """The same of an API's answers: what a task may risk does not depend on who answers."""
    return first(
        "reviewed share of an API's",
        "share",
        (facts.said.reviewed_api, "declared", "[price] reviewed_api"),
        (own.value, "assumed", "as of one's own: what the task may risk is the same"),
    )


def calls_per_s(facts: Facts) -> Known:
    """How many calls a second one machine answers in time."""
    load, report = facts.load, facts.report
    held = None if load is None else borne(load)
    same = "taken to be the same on the machines shown"
    under = "" if load is None else f"load test of {load.candidate}, {load.created[:10]}, {load.machine}; {same}"
    one = next((c for c in report.candidates if c.candidate == facts.release), None) if report else None
    rows = one.rows_per_s if one and one.rows_per_s else None
    return first(
        SPEED,
        "calls/s",
        (facts.said.calls_per_s, "declared", "[price] calls_per_s"),
        (held, "measured", under),
        (rows, "measured", (f"rows a second of {facts.release}, report {report.id[:8] if report else ''}; no latency "
         "demanded: insource measure --load finds what it bears")),
        (PER_S, "assumed", "no load test: insource measure TASK --load --until-saturated"),
    )  # fmt: skip


def of_calls(facts: Facts) -> list[Known]:
    """What the calls so far took and cost, as they are on record; nothing without calls."""
    seen = facts.seen
    if not seen.n or seen.p50_ms is None or seen.p95_ms is None:
        return []
    of = seen.words
    told = (("median time of a call", seen.p50_ms, "ms"), ("95th percentile of it", seen.p95_ms, "ms"),
            ("tokens of a call at engines' prices", seen.usd / seen.n, "US$"))  # fmt: skip
    return [Known(name=name, value=value, unit=unit, how="measured", of=of) for name, value, unit in told]


def _rest(facts: Facts) -> Said:
    if facts.automatic is None:
        return None, "assumed", ""
    return 1 - facts.automatic[0], "measured", facts.automatic[1]


def _share(k: int, seen: Seen) -> Said:
    if seen.n < FEWEST:
        return None, "assumed", ""
    low, high = wilson(k, seen.n)
    return k / seen.n, "measured", f"{k:,} of {seen.words} ({low:.1%} to {high:.1%})"


def bought(seen: Seen) -> str:
    """Which calls say how many tokens an API takes."""
    return f"those that engines with a price answered, of {seen.words}"


def _tokens(attempts: Sequence[Attempt]) -> tuple[float, float] | None:
    """The mean of what was read and written, by those who answered."""
    used = [one.prediction.usage for one in attempts if one.prediction is not None]
    if len(used) < FEWEST:
        return None
    read, written = (sum(getattr(usage, name) for usage in used) for name in ("input_tokens", "output_tokens"))
    return (read / len(used), written / len(used)) if read else None


def _asking(task: Task) -> float:
    """Tokens of the instruction and of what may be answered, as a prompt would say them."""
    labels = sum(len(label) + 1 for output in task.outputs for label in output.labels)
    schema: JsonObject | str = task.schema or ""
    return PROMPT + (len(task.instruction) + labels + (len(to_json(schema)) if schema else 0)) / CHARS
