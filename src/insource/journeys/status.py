"""Where a task stands on the way in-house, told from what the store holds and nothing else.

assessment and pilot → fine-tuning and validation → infrastructure → production pilot → full migration

A stage is done when each of its needs is met; the first stage with an open need is where the task stands, and the
open needs are what its gate asks for, each with the command that meets it.
"""

from collections.abc import Sequence
from typing import TypedDict

import msgspec

from insource.journeys.facts import aside
from insource.journeys.holdout import holdout_trend
from insource.journeys.suitability import suitability
from insource.journeys.trial import standing as where
from insource.nouns import WAITS, Noun, Outcome, Release, Report, StageChange, Task
from insource.nouns.lesson import CALLER
from insource.release.stages import ON_ITS_WAY, PILOT_SHARE, has_passed, held
from insource.settings import Settings, load_task, task_names
from insource.store import Store

ROWS, BETTER = 500, 5000
PILOT_CALLS = 1000
LOOK_BACK = 1_000
NEWEST = 20  # releases, and reports, that are looked at beside what is live or on its way
CHANGES, NAMED = 200, 5
LONG_QUEUE = 50
ROADMAP = (
    "assessment and pilot",
    "fine-tuning and validation",
    "infrastructure",
    "production pilot",
    "full migration",
)


class Facts(Noun, frozen=True, kw_only=True):
    """What the store knows of a task. `calls` counts the newest 1,000 by outcome; `waiting` is the review queue.

    `candidates` are those of the newest 20 reports. `releases` are the newest 20, with what is live or on its way;
    `passed` and `asked` are of those, and `earlier` says how many more there are.
    `pilot` says which canary of a tenth its tests let go on, and on what figures. `trial` is the release that is on
    its way to all traffic, `canary` whether it answers some of it already, `waits_for` what it waits for in words.
    `holdout` is the triage of the rolling holdout in words, empty where none was asked; `alerts` are the causes of the
    open ones. `suits` says whether it is a task for a small model, `unfit` that it is not; both are told of one task
    that is asked for by its name.
    """

    rows: dict[str, int] = {}
    candidates: tuple[str, ...] = ()
    best: str = ""
    measured: str = ""
    releases: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    live: str = ""
    calls: dict[Outcome, int] = {}
    waiting: int = 0
    pilot: str = ""
    trial: str = ""
    canary: bool = False
    waits_for: str = ""
    holdout: str = ""
    alerts: tuple[str, ...] = ()
    assessed: str = ""
    suits: str = ""
    unfit: bool = False
    earlier: int = 0

    @property
    def arrived(self) -> bool:
        """True where the releases came in a bundle: a workspace that trained one has the rows."""
        return bool(self.releases) and not self.rows

    @property
    def total_rows(self) -> int:
        """Rows in all splits."""
        return sum(self.rows.values())

    @property
    def total_calls(self) -> int:
        """Calls that were looked at, whatever became of them."""
        return sum(self.calls.values())

    @property
    def to_review(self) -> float:
        """The share of calls sent to a person, 0 to 1; 0 without calls."""
        return sum(self.calls.get(outcome, 0) for outcome in WAITS) / self.total_calls if self.calls else 0.0


class OnItsWay(TypedDict, total=False):
    """The facts of `Facts` about the release that is on its way."""

    trial: str
    canary: bool
    waits_for: str


class Need(Noun, frozen=True, kw_only=True):
    """One thing a stage's gate asks for: what, how it stands, whether it is met, and the command that meets it."""

    what: str
    found: str
    met: bool
    command: str = ""


class Leg(Noun, frozen=True, kw_only=True):
    """One stage of the roadmap: `state` is done, here or ahead."""

    stage: str
    state: str
    needs: tuple[Need, ...]


class Standing(Noun, frozen=True, kw_only=True):
    """Where one task stands. `next` is the first open need, None when there is none left."""

    task: str
    kind: str
    owner: str
    stage: str
    roadmap: tuple[Leg, ...]
    facts: Facts
    next: Need | None


async def status(settings: Settings, store: Store, task: str = "") -> list[Standing]:
    """Where `task` stands, or each task of the workspace. Raises `Missing` for an unknown task."""
    if not task:
        tasks = [load_task(settings, name) for name in task_names(settings)]
        return [standing(one, await gather(one, settings, store)) for one in tasks]
    one = load_task(settings, task)
    fit = await suitability(one, settings, store)
    facts = msgspec.structs.replace(await gather(one, settings, store), suits=fit.summary, unfit=fit.verdict == "no")
    return [standing(one, facts)]


async def gather(task: Task, settings: Settings, store: Store) -> Facts:
    """The facts of one task, read from the store."""
    dataset = await store.dataset(task.name)
    reports = await store.listings.reports_on(task.name, lambda split: not aside(split), NEWEST)
    page = await store.listings.releases(task.name, NEWEST)
    releases = page.releases[::-1]
    gates = await store.listings.gates([release.name for release in releases])
    live = await store.live(task.name)
    calls = await store.listings.ended(task.name, LOOK_BACK, besides=CALLER)  # a teacher's are no traffic
    lately = await holdout_trend(task, store)
    return Facts(
        rows=dataset.counts if dataset else {},
        candidates=tuple(dict.fromkeys(c.candidate for report in reports for c in report.candidates)),
        best=_best(reports[-1], task) if reports else "",
        measured=reports[-1].created if reports else "",
        releases=tuple(release.name for release in releases),
        earlier=page.total - len(releases),
        passed=tuple(one.name for one in releases if one.name in gates and has_passed(one, [gates[one.name]])),
        asked=tuple(release.name for release in releases if release.name in gates),
        live=live.name if live else "",
        calls=calls,
        waiting=await store.listings.waiting(task.name),
        pilot=_held((await store.listings.changes(task.name, CHANGES))[0]),
        **await _on_its_way(releases, settings, store),
        holdout=f"{lately.triage.state}: {lately.triage.why}" if lately.results else "",
        alerts=tuple([alert.cause for alert in await store.open_alerts(task.name)]),
        assessed=await _assessed(task, store),
    )


async def _assessed(task: Task, store: Store) -> str:
    """The newest verdict in words; empty where no migration came to its end."""
    done = [run for run in await store.assessments.of_task(task.name) if run.report]
    return f"{done[-1].verdict}, {done[-1].created[:10]}, run {done[-1].id[:12]}" if done else ""


def _held(changes: Sequence[StageChange]) -> str:
    """The newest canary of a tenth that went on by its tests, in words; empty where there was none."""
    change = held(changes)
    return f"{change.release}: {change.found.get('not worse') or change.why}" if change else ""


async def _on_its_way(releases: Sequence[Release], settings: Settings, store: Store) -> OnItsWay:
    """The release that is on trial, else the newest in staging: where it is and what it waits for."""
    moving = sorted((one for one in releases if one.stage in ON_ITS_WAY), key=lambda one: one.stage != "staging")
    if not moving:
        return {}
    found = await where(moving[-1], settings, store)
    waits = {"on": "nothing: it goes on", "hold": found.ruling.why, "back": f"nothing: {found.ruling.why}"}
    return {
        "trial": f"{found.release}, {found.stop.words}",
        "canary": found.stop.stage == "canary",
        "waits_for": waits[found.ruling.verdict],
    }


def standing(task: Task, facts: Facts) -> Standing:
    """Places the task on the roadmap. Pure."""
    needs = (_assessment(task, facts), _validation(task, facts), _infrastructure(task, facts), _pilot(task, facts),
             _migration(task, facts))  # fmt: skip
    at = next((i for i, of_stage in enumerate(needs) if not all(need.met for need in of_stage)), len(needs) - 1)
    legs = tuple(
        Leg(stage=stage, state="done" if i < at else "here" if i == at else "ahead", needs=of_stage)
        for i, (stage, of_stage) in enumerate(zip(ROADMAP, needs, strict=True))
    )
    return Standing(
        task=task.name,
        kind=task.kind,
        owner=task.owner,
        stage=ROADMAP[at],
        roadmap=legs,
        facts=facts,
        next=next((need for need in needs[at] if not need.met), None),
    )


def _assessment(task: Task, facts: Facts) -> tuple[Need, ...]:
    if facts.arrived:
        return (Need(what="rows, criteria and candidates", found="where the release was made", met=True),)
    return (*_suits(task, facts), *_begun(task, facts))


def _suits(task: Task, facts: Facts) -> tuple[Need, ...]:
    """Asked for where it is known that it does not hold: what is not known yet keeps nobody from collecting rows."""
    if not facts.unfit:
        return ()
    command = f"insource status {task.name} --suitability"
    return (Need(what="a task for a small model", found=facts.suits, met=False, command=command),)


def _begun(task: Task, facts: Facts) -> tuple[Need, ...]:
    demands = ", ".join(f"{key} = {value:g}" for key, value in task.acceptance.items())
    rows = facts.total_rows
    return (
        Need(
            what=f"{ROWS:,} labelled rows ({BETTER:,} are better)",
            found=f"{rows:,}",
            met=rows >= ROWS,
            command=f"insource collect {task.name} FILE",
        ),
        Need(
            what="acceptance criteria, written before results",
            found=demands or "none",
            met=bool(demands),
            command=f"write [acceptance] in tasks/{task.name}.toml",
        ),
        Need(
            what="candidates measured on the same rows",
            found=f"migrate says {facts.assessed}" if facts.assessed else ", ".join(facts.candidates) or "none",
            met=bool(facts.candidates),
            command=f"insource measure {task.name}",
        ),
    )


def _validation(task: Task, facts: Facts) -> tuple[Need, ...]:
    newest = facts.releases[-1] if facts.releases else ""
    refused = [name for name in facts.asked if name not in facts.passed]
    said = f"said no to {named(refused)}" if refused else "not asked yet"
    return (
        Need(
            what="a release",
            found=named(facts.releases, facts.earlier) or "none",
            met=bool(facts.releases),
            command=f"insource train {task.name}",
        ),
        Need(
            what="a release that passed its gate",
            found=named(facts.passed) or said,
            met=bool(facts.passed),
            command=f"insource release gate {newest or task.name}",
        ),
    )


def _infrastructure(task: Task, facts: Facts) -> tuple[Need, ...]:
    ready = facts.passed[-1] if facts.passed else task.name
    return (
        Need(
            what="a release that is live",
            found=facts.live or "none",
            met=bool(facts.live),
            command=f"insource release promote {ready}",
        ),
        Need(
            what="a first call answered through the gateway",
            found=f"{facts.total_calls:,} calls",
            met=facts.total_calls > 0,
            command="insource serve",
        ),
    )


def _pilot(task: Task, facts: Facts) -> tuple[Need, ...]:
    return (_tenth(task, facts), _short_queue(task, facts))


def _tenth(task: Task, facts: Facts) -> Need:
    """The first release has nothing beside which it could be tried: it is shown by calls, a later one by its canary."""
    calls = f"{facts.total_calls:,} calls"
    command = f"send a tenth of the traffic to the gateway with model = {task.name}"
    if facts.trial:
        command = _show(facts)
    return Need(
        what=f"a canary of {PILOT_SHARE}% that its tests let go on, or {PILOT_CALLS:,} calls of a first release",
        found=facts.pilot or (f"{calls}; {facts.trial}" if facts.trial else calls),
        met=bool(facts.pilot) or facts.total_calls >= PILOT_CALLS,
        command=command,
    )


def _show(facts: Facts) -> str:
    return f"insource release show {facts.trial.partition(',')[0] or facts.live}"


def _migration(task: Task, facts: Facts) -> tuple[Need, ...]:
    unanswered = facts.calls.get("failed", 0)
    halfway = f"{facts.trial} answers some of it"
    return (
        Need(
            what="one release that answers all traffic",
            found=halfway if facts.canary else f"{facts.live}, 100%" if facts.live else "none",
            met=bool(facts.live) and not facts.canary,
            command=_show(facts),
        ),
        Need(
            what="no call left without an answer",
            found=f"{unanswered:,} of {facts.total_calls:,} failed",
            met=facts.total_calls > 0 and unanswered == 0,
            command=f"insource answer {task.name} --input TEXT shows what an engine says",
        ),
        _short_queue(task, facts),
    )


def _short_queue(task: Task, facts: Facts) -> Need:
    return Need(
        what=f"at most {LONG_QUEUE} answers that wait for a person",
        found=f"{facts.waiting:,} wait{'s' * (facts.waiting == 1)}",
        met=facts.waiting <= LONG_QUEUE,
        command=f"insource review {task.name}",
    )


def named(names: Sequence[str], earlier: int = 0) -> str:
    """The newest of some names in words, and how many came before them; empty for none."""
    some = names[-NAMED:]
    before = len(names) - len(some) + earlier
    return ", ".join(some) + (f" and {before:,} earlier" if before else "")


def _best(report: Report, task: Task) -> str:
    """The candidate with the highest score on the task's metric, in words; empty when nothing has that score."""
    scored = [(candidate.score(task.metric), candidate.candidate) for candidate in report.candidates]
    found = [(score, name) for score, name in scored if score is not None]
    if not found:
        return ""
    score, name = max(found, key=lambda pair: pair[0].value)
    return f"{name}, {score.metric} {score.value:.3f} ({score.low:.3f} to {score.high:.3f}, n {score.n:,})"
