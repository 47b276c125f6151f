"""Does the promise still hold? What people said of answers drawn by chance, against the error that was promised.

It may be asked every night: the test is by betting (`stats.betting`), so that many looks cry wolf no oftener than one.
They count in the order in which they were drawn, up to the oldest at which nobody looked yet. An application's feedback
may settle some before a reviewer comes to them, and wrong ones sooner than right ones: behind an answer that waits,
those that are settled would speak for themselves alone.

Where the promise is broken, a higher confidence is demanded from now on: fitted to what people said, put on record, and
taken up by a running gateway. A lower one is never demanded so: that takes a new release, or the task's file.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from insource.engines.artefact import read_manifest
from insource.engines.held_out import read_held_out
from insource.errors import Conflict
from insource.journeys.serve import as_served
from insource.journeys.terms import agreed, beyond
from insource.nouns import DRAWN, Noun, Release, Task, Tightening, stamp
from insource.release.shared import here
from insource.settings import Settings, load_task, task_file
from insource.stats import e_value, mean_interval, threshold_for_risk
from insource.store import Store
from insource.store.draws import Looks

State = Literal["no promise", "too few", "holds", "broken"]
LEVEL = 0.90  # of the interval: each of its ends is wrong at most once in twenty looks, however many there are
PROOF = 20.0  # times a bettor's start: evidence at 5%
MOST = 100_000
BY_ITSELF = "insource"


class Checked(Noun, frozen=True, kw_only=True):
    """What became of the promise that at most `max_error` of the given answers are wrong.

    Of `n` answers drawn by chance and looked at, `wrong` were; `low` and `high` bound the error at 95% each, at
    whatever moment one looks. `missing` more would tell at the error seen: 0 where it is told, or where none would.
    `behind` are settled, and count once an older one is that waits.
    """

    release: str
    state: State
    why: str
    max_error: float | None = None
    threshold: float | None = None
    n: int = 0
    wrong: int = 0
    low: float = 0.0
    high: float = 1.0
    missing: int = 0
    behind: int = 0
    tightened: Tightening | None = None
    next: str = ""


async def checked(task: str, settings: Settings, store: Store) -> Checked:
    """What people's looks say of the live release's promise. Raises `Conflict` when nothing is live."""
    found, _ = await _checked(task, settings, store)
    return found


async def recheck(task: str, settings: Settings, store: Store) -> Checked:
    """The same; a promise that is broken is refitted where that can be, and the stricter threshold put on record."""
    found, (since, until) = await _checked(task, settings, store)
    if found.state != "broken" or found.threshold is None or found.max_error is None:
        return found
    release = await store.release(task, found.release.partition("@")[2])
    seen = await store.listings.looked_at(found.release, since, until)
    fitted = await asyncio.to_thread(_refitted, found, seen, release, settings)
    if fitted is None:
        return found
    threshold, of = fitted
    made = Tightening(
        release=found.release,
        threshold=threshold,
        before=found.threshold,
        max_error=found.max_error,
        who=BY_ITSELF,
        why=found.why,
        created=stamp(time.time()),
        found={"n": found.n, "wrong": found.wrong, "low": found.low, "high": found.high, "fitted_to": of},
    )
    await store.tighten(made)
    demanded = f"from now on a confidence of {threshold:.3f} is demanded, not {found.threshold:.3f}"
    why = f"{found.why}; {demanded}: fitted to {of}"
    return replace(found, tightened=made, why=why)


async def _checked(name: str, settings: Settings, store: Store) -> tuple[Checked, tuple[str, str]]:
    """What people's looks say, and from when and up to when the answers were given that they are of ("": no end)."""
    live = await store.live(name)
    if live is None:
        raise Conflict(f"nothing of {name} is live, so nothing is promised", hint=f"insource release promote {name}")
    task, risk = load_task(settings, name), task_file(settings, name)[1].risk
    await here(live, settings, store.place)
    said = await store.tightened(live.name)
    threshold = await asyncio.to_thread(_demanded, task, settings, live, said)
    limit = task.risk.max_error
    if limit is None or task.risk.threshold is not None or threshold is None:
        why = "no error is promised: [risk] has no max_error, or a threshold by hand"
        return Checked(release=live.name, state="no promise", why=why), ("", "")
    since = said.created if said else ""
    seen = await store.listings.looks(live.name, since)
    found = _judged(live.name, seen, limit, threshold)
    if found.state == "too few" and not risk.audit:
        found = replace(found, next=f"[risk] audit = 0.02 in tasks/{name}.toml has people look at some")
    if found.state == "broken":
        found = replace(found, next=f"insource improve {name}, or insource release rollback {name}")
    if found.state == "too few" and seen.behind:
        found = replace(found, next=f"insource review {name}")
    return found, (since, seen.until)


def _demanded(task: Task, settings: Settings, live: Release, said: Tightening | None) -> float | None:
    folder = settings.state / live.folder
    manifest = read_manifest(folder)
    served = as_served(manifest.task, task)
    now = agreed(served, task_file(settings, task.name)[1].risk, manifest, folder).threshold
    return said.threshold if said is not None and beyond(served.risk, now, said) else now


def _judged(release: str, seen: Looks, limit: float, threshold: float) -> Checked:
    n, wrong = seen.right + seen.wrong, seen.wrong
    low, high = mean_interval({0.0: n - wrong, 1.0: wrong}, LEVEL, low=0.0, high=1.0)
    state, missing = _told(n, wrong, limit), 0
    of = f"{wrong:,} of {n:,} answers {DRAWN} were wrong, {low:.1%} to {high:.1%}; the limit is {limit:.1%}"
    if state == "too few":
        missing = _missing(n, wrong, limit)
        of += f"; about {missing:,} more would tell" if missing else "; that is too near to tell"
    of += f"; {seen.behind:,} more count once the oldest that waits was looked at" if seen.behind else ""
    found = Checked(release=release, state=state, why=of, max_error=limit, threshold=threshold)
    return replace(found, n=n, wrong=wrong, low=low, high=high, missing=missing, behind=seen.behind)


def _told(n: int, wrong: int, limit: float) -> State:
    """Whether the error is surely above the limit, surely at or below it, or neither."""
    if e_value({0.0: n - wrong, 1.0: wrong}, limit, low=0.0, high=1.0) >= PROOF:
        return "broken"
    return "holds" if e_value({0.0: n - wrong, -1.0: wrong}, -limit, low=-1.0, high=0.0) >= PROOF else "too few"


def _missing(n: int, wrong: int, limit: float) -> int:
    """How many more looks would tell, were the error as it is so far; 0 where not even very many would."""
    share = wrong / n if n else 0.0

    def told(rows: int) -> bool:
        return _told(rows, round(rows * share), limit) != "too few"

    low, high = n, max(2 * n, 16)
    while high < MOST and not told(high):
        low, high = high, high * 2
    while told(high) and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if told(middle) else (middle, high)
    return high - n if told(high) else 0


def _refitted(
    found: Checked, seen: Sequence[tuple[float, bool]], live: Release, settings: Settings
) -> tuple[float, str] | None:
    """A higher threshold, and what it was fitted to; None where none is found at which these answers were right enough.

    What people said is of today's traffic, so it goes first. Where it alone is too little, the rows held out are added;
    then too, of the answers seen above it no larger share was wrong than is promised.
    """
    limit, now = found.max_error or 0.0, found.threshold or 0.0
    held = read_held_out(settings.state / live.folder)
    own, right = [sure for sure, _ in seen], [ok for _, ok in seen]
    tries: list[tuple[Sequence[float], Sequence[bool], str]] = [(own, right, f"{found.n:,} reviewed answers")]
    if held is not None:
        both = [*own, *held.confidences], [*right, *held.right]
        tries.append((*both, f"{found.n:,} reviewed answers and {len(held.right):,} rows held out"))
    for confidences, marks, of in tries:
        threshold, _, _ = threshold_for_risk(confidences, marks, limit)
        if threshold is None or threshold <= now:
            continue
        above = [ok for sure, ok in seen if sure >= threshold]
        if above and above.count(False) <= limit * len(above):
            return threshold, of
    return None
