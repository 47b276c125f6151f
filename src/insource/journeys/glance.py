"""A task at a glance: who answered its newest calls, how well, how fast, for how much, and what waits."""

import asyncio
from collections.abc import Sequence

from insource.nouns import DRAWN, Noun, Pending, Record, Release, Review, Task
from insource.nouns.lesson import CALLER, TEACHING
from insource.settings import Settings
from insource.stats import quantile
from insource.store import Store
from insource.store.search import Wanted
from insource.watch.window import Estimate, share

NEWEST = 2_000
NOBODY = {
    "review": "a person",
    "out_of_scope": "a person: out of scope",
    "failed": "nobody: failed",
    "interrupted": "nobody: interrupted",
}


class Part(Noun, frozen=True, kw_only=True):
    """How many of the calls one answered: an engine, a release, or nobody. `tier` is its place, 0 for none."""

    name: str
    tier: int
    calls: int


class Saved(Noun, frozen=True, kw_only=True):
    """What the calls would have cost with the dearest engine of the settings, at the tokens that were counted."""

    engine: str
    usd: float


class Glance(Noun, frozen=True, kw_only=True):
    """`calls` are the newest, `since` the time of the oldest of them; times are in ms, costs in US dollars.

    `right` is the share of given answers that people found right: of those drawn by chance where there are some, else
    of all that were looked at, which are the doubtful ones; `right_of` says which.
    """

    task: str
    owner: str
    live: str
    trial: str
    calls: int
    since: str
    parts: tuple[Part, ...]
    p50_ms: float | None
    p95_ms: float | None
    usd: float
    saved: Saved | None
    waiting: int
    right: Estimate | None
    right_of: str

    def count(self, tier: int) -> int:
        """How many calls the engine at that place answered."""
        return sum(part.calls for part in self.parts if part.tier == tier)


async def glance(
    task: Task, settings: Settings, store: Store, tenant: str | None = None, *, newest: int = NEWEST
) -> Glance:
    """The task as its newest calls, and half as many verdicts, show it; of one tenant where `tenant` names one."""
    found = await store.find(Wanted(task=task.name, tenant=tenant), limit=newest)
    calls = [record for record in found.records if record.caller != CALLER]  # a teacher's are no traffic
    said = await store.newest_reviews(task.name, newest // 2, tenant)
    said = [one for one in said if one[0].reason not in TEACHING]
    live, tried = await store.live(task.name), await store.on_trial(task.name)
    summed = await asyncio.to_thread(seen, calls, settings)
    parts, p50, p95, usd, saved = summed
    right, of = people(said)
    return Glance(
        task=task.name,
        owner=task.owner,
        live=live.name if live else "",
        trial=_called(tried),
        calls=len(calls),
        since=calls[-1].created if calls else "",
        parts=parts,
        p50_ms=p50,
        p95_ms=p95,
        usd=usd,
        saved=saved,
        waiting=await store.listings.waiting(task.name, tenant),
        right=right,
        right_of=of,
    )


Seen = tuple[tuple[Part, ...], float | None, float | None, float, Saved | None]


def seen(records: Sequence[Record], settings: Settings) -> Seen:
    """Who answered, the 50th and 95th percentile of the times in ms, the cost, and what it would have been."""
    counts: dict[tuple[int, str], int] = {}
    for record in records:
        nobody = NOBODY.get(record.outcome)
        said = record.answer
        name = nobody or (record.release if record.tier == 1 and record.release else said.engine if said else "")
        place = (0 if nobody else record.tier, name or "an engine")
        counts[place] = counts.get(place, 0) + 1
    parts = tuple(Part(name=name, tier=tier, calls=n) for (tier, name), n in sorted(counts.items(), key=_in_order))
    times = sorted(record.latency_ms for record in records if record.outcome not in ("failed", "interrupted"))
    p50, p95 = (quantile(times, q) if times else None for q in (0.5, 0.95))
    return parts, p50, p95, sum(record.usd for record in records), _saved(records, settings)


def people(said: Sequence[tuple[Pending, Review]]) -> tuple[Estimate | None, str]:
    """The share that people found right, and of what."""
    told = [(waited.reason == DRAWN, review.verdict == "right") for waited, review in said
            if review.verdict in ("right", "wrong")]  # fmt: skip
    drawn = [right for by_chance, right in told if by_chance]
    found = drawn or [right for _, right in told]
    return share(sum(found), len(found)), f"given answers, {DRAWN}" if drawn else "the answers that were looked at"


def _in_order(counted: tuple[tuple[int, str], int]) -> tuple[bool, int, int]:
    """Tiers as they are asked, then what nobody answered; the more calls first."""
    (tier, _), calls = counted
    return tier == 0, tier, -calls


def _called(tried: Release | None) -> str:
    if tried is None:
        return ""
    return f"{tried.name}, {tried.stage}" + (f" {tried.share}%" if tried.share else "")


def _saved(records: Sequence[Record], settings: Settings) -> Saved | None:
    """None where no engine has a price, or nothing was answered."""
    asked = [(e.usd_per_million_input + e.usd_per_million_output, name) for name, e in settings.engines.items()]
    dearest, name = max(asked, default=(0.0, ""))
    if not dearest or not records:
        return None
    engine = settings.engines[name]
    usd = 0.0
    for record in records:
        said = record.answer
        if said is not None:
            usd += said.usage.input_tokens * engine.usd_per_million_input
            usd += said.usage.output_tokens * engine.usd_per_million_output
    return Saved(engine=name, usd=usd / 1_000_000)
