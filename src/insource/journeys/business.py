"""The business case of a task: costs compared, what was measured, where it stands; as a page, words and a sheet."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from insource.errors import Invalid
from insource.journeys.assessed import changed, verdict
from insource.journeys.price import PEOPLE, Asked, price
from insource.journeys.status import status
from insource.nouns import Candidate, JsonObject, Noun, Report, Rollout, Score, Task
from insource.nouns.assessment import NOBODY, Assessed, Entrant
from insource.nouns.business import Business, Counted, Figure, How, Quality, Stage, Told
from insource.nouns.pricing import TaskPricing
from insource.nouns.watching import Watching
from insource.price.business import Given
from insource.price.business import business as case
from insource.price.compare import Priced
from insource.price.known import Known, first
from insource.settings import Settings, task_file
from insource.store import Store
from insource.store.files import disk, write_whole

SHARES = ("accuracy", "exact")  # whose rest is the share of answers that are wrong
AT_MOST = ("ece", "brier", "aurc")
PERCENTILES = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
BEFORE_REVIEW = "before anybody looks at what is doubtful"


async def business(task: Task, settings: Settings, store: Store, asked: Asked, today: str) -> Business:
    """The case, of what the store and the files hold. `today` is YYYY-MM-DD.

    Raises as `price` does, and `Invalid` where nothing would change.
    """
    found = await price(task, settings, store, asked, today)
    path, file = task_file(settings, task.name)
    files = _files(path, settings)
    assessed = await verdict(task, store)
    given = Given(
        owner=task.owner,
        said=file.price,
        hands=_hands(file.price, found),
        quality=await _quality(
            found, file.price, _names(file.price, file.migrate.incumbent, settings, assessed), store, assessed
        ),
        stages=await _stages(task, settings, store),
        governance=tuple(_governance(task, file.watch, files)),
        criteria=_criteria(task),
        months=_months(found.months, files),
        days=_days(file.rollout, files),
        trial=(file.rollout.canary[0], file.rollout.canary_days, file.rollout.min_calls, file.rollout.max_worse),
        assessed=assessed,
        changed=changed(assessed, task, store) if assessed else "",
    )
    try:
        return case(found, given)
    except ValueError as error:
        raise Invalid(f"{task.name}: {error}", hint="[price] incumbent says who answers today") from error


def _hands(said: TaskPricing, found: Priced) -> tuple[Known, Known]:
    """The share of cases that people do by hand today, and what is left of it: as much, where nobody says less."""
    alone = found.before == PEOPLE
    today = first(
        "share done by hand today",
        "share",
        (said.human_share, "declared", "[price] human_share"),
        (1.0 if alone else 0.0, "assumed", "no model does any" if alone else f"{found.before} does all"),
    )
    left = first(
        "share left by hand",
        "share",
        (said.human_share_after, "declared", "[price] human_share_after"),
        (
            0.0 if alone else today.value,
            "assumed",
            "what is doubtful is looked at, no more" if alone else "as today: nobody says it is less",
        ),
    )
    return today, left


def write_case(found: Business, folder: Path) -> tuple[Path, ...]:
    """Writes case.html, case.md and case.xlsx, each whole or not at all. Raises `StoreError`, `Invalid`.

    What is to be written is made first: where the package for sheets is not there, nothing is written.
    """
    from insource.price.business_page import html, markdown
    from insource.price.business_sheet import sheet

    try:
        book = sheet(found)
    except ModuleNotFoundError as error:
        raise Invalid(
            f"{error.name} is not installed, which writes the sheet", hint="pip install 'insource[sheet]'"
        ) from error
    page, words = html(found), markdown(found)
    with disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "case.html", page)
    write_whole(folder / "case.md", words)
    write_whole(folder / "case.xlsx", book)
    return tuple(folder / f"case.{end}" for end in ("html", "md", "xlsx"))


def _names(said: TaskPricing, migrating: str, settings: Settings, assessed: Assessed | None) -> tuple[str, ...]:
    """What who answers today may be called in a report: the API, the engine, and an engine whose model that is."""
    given = (said.incumbent, migrating, assessed.criteria.incumbent if assessed else "")
    names = [name for name in given if name and name != NOBODY]
    return (*names, *(name for name, engine in settings.engines.items() if engine.model in names))


async def _quality(
    found: Priced, said: TaskPricing, names: tuple[str, ...], store: Store, assessed: Assessed | None
) -> Quality:
    """Who was wrong how often, of the report that the verdict rests on, else of the newest that has the release."""
    live = await store.live(found.task)
    releases = [one.name for one in await store.releases(found.task)]
    own = _own(assessed) or (live.name if live else next(iter(releases[-1:]), ""))
    report = _report(await store.reports(found.task), assessed, own)
    asked = {one.candidate: one for one in report.candidates} if report else {}
    now, then = next((asked[name] for name in names if name in asked), None), asked.get(own)
    return Quality(
        now=_wrong(report, now) or _declared(found, said),
        then=_wrong(report, then),
        less=_less(report, now, then),
        others=tuple(_others(report, then, assessed, (*names, own))),
        wrong_usd=said.wrong_usd,
    )


def _declared(found: Priced, said: TaskPricing) -> Counted | None:
    """The share of wrong answers today that somebody counted elsewhere."""
    if said.wrong_today is None:
        return None
    of = f"tasks/{found.task}.toml [price] wrong_today, no interval"
    return Counted(who=found.before, share=said.wrong_today, how="declared", of=of)


def _own(assessed: Assessed | None) -> str:
    """The one of its own that a verdict names, else the best that it measured."""
    if assessed is None:
        return ""
    own = [way.name for way in assessed.case.ways if way.kind == "own" and way.measured]
    return assessed.verdict.way if assessed.verdict.way in own else next(iter(own), "")


def _report(reports: list[Report], assessed: Assessed | None, own: str) -> Report | None:
    wanted = assessed.reports.get("sample", "") if assessed else ""
    measured = [one for one in reports if any(c.candidate == own for c in one.candidates) and one.split == "test"]
    return next((one for one in reports if wanted and one.id == wanted), None) or next(iter(measured[-1:]), None)


def _share(candidate: Candidate | None) -> Score | None:
    found = (candidate.score(metric) for metric in SHARES) if candidate else ()
    return next((score for score in found if score is not None), None)


def _wrong(report: Report | None, candidate: Candidate | None) -> Counted | None:
    score = _share(candidate)
    if report is None or candidate is None or score is None:
        return None
    of = f"report {report.id[:12]}, {score.n:,} rows of {report.split}, {report.created[:10]}, {BEFORE_REVIEW}"
    return Counted(who=candidate.candidate, share=1 - score.value, low=1 - score.high, high=1 - score.low, n=score.n,
                   how="measured", of=of)  # fmt: skip


def _less(report: Report | None, now: Candidate | None, then: Candidate | None) -> Counted | None:
    """How much less often it is wrong, from answers to the same rows."""
    if report is None or now is None or then is None:
        return None
    for pair in report.pairs:
        sign = {(then.candidate, now.candidate): 1, (now.candidate, then.candidate): -1}.get((pair.a, pair.b))
        if sign is not None and pair.metric in SHARES:
            low, high = sorted((sign * pair.low, sign * pair.high))
            of = f"report {report.id[:12]}, both on the same {pair.n:,} rows"
            return Counted(
                who=then.candidate, share=sign * pair.difference, low=low, high=high, n=pair.n, how="measured", of=of
            )
    return None


def _others(
    report: Report | None, then: Candidate | None, assessed: Assessed | None, names: tuple[str, ...]
) -> Iterator[tuple[str, Counted]]:
    """What bears on risk and has no price: answers that break the contract, and wrong ones that leave by themselves."""
    if report is not None and then is not None and then.failures.n:
        bad = then.failures
        of = f"report {report.id[:12]}, {bad.invalid:,} of {bad.n:,}; the high end is the upper 95% bound"
        yield "answers that break the contract", Counted(who=then.candidate, share=bad.invalid / bad.n, low=0.0,
                                                         high=bad.upper95, n=bad.n, how="measured", of=of)  # fmt: skip
    for one in assessed.entrants if assessed else ():
        if one.name in names and one.sure_wrong is not None:
            yield "wrong and sure of it, of inputs made harder", _sure(one, assessed)


def _sure(one: Entrant, assessed: Assessed | None) -> Counted:
    score = one.sure_wrong
    assert score is not None and assessed is not None  # noqa: S101 - asked before
    of = f"run {assessed.run[:12]}, report {assessed.reports.get('adversarial', '')[:12]}"
    return Counted(who=one.name, share=score.value, low=score.low, high=score.high, n=score.n, how="measured", of=of)


async def _stages(task: Task, settings: Settings, store: Store) -> tuple[Stage, ...]:
    (standing,) = await status(settings, store, task.name)
    return tuple(
        Stage(name=leg.stage, state=leg.state, needs=tuple((need.what, need.found, need.met) for need in leg.needs))
        for leg in standing.roadmap
    )


class Files(Noun, frozen=True, kw_only=True):
    """What stands in the two files, so that what somebody declared is told from what is so by default."""

    task: JsonObject
    company: JsonObject

    def of(self, section: str, key: str) -> tuple[How, str]:
        """Whose word a key of the task's file is, and where it stands; `section` "" is its top."""
        name = f"tasks/{self.task['name']}.toml"
        where = f"[{section}] {key}" if section else key
        there = self.task.get(section, {}) if section else self.task
        return (
            ("declared", f"{name} {where}") if key in there else ("assumed", f"as usual; {where} in {name} changes it")
        )


def _files(path: Path, settings: Settings) -> Files:
    company = settings.root / "insource.toml"
    return Files(task=tomllib.loads(path.read_text("utf-8")), company=tomllib.loads(company.read_text("utf-8")))


def _governance(task: Task, watching: Watching, files: Files) -> Iterator[Told]:
    """Who answers for it and how it is kept good, as the task's file has it."""
    where = task.sensitivity if isinstance(task.sensitivity, str) else ", ".join(task.sensitivity)
    tolerated = task.risk.max_error
    said = (
        ("owner", task.owner, "", "owner"),
        ("where texts may go", where, "", "sensitivity"),
        ("wrong answers that are tolerated", "" if tolerated is None else f"{tolerated:.1%} of automatic answers",
         "risk", "max_error"),
        ("what is doubtful goes to", ", then ".join(task.risk.otherwise), "risk", "else"),
        ("trained again", watching.retrain, "watch", "retrain"),
        ("held against what people found", f"every {watching.holdout_days} days", "watch", "holdout_days"),
    )  # fmt: skip
    for name, words, section, key in said:
        how, of = files.of(section, key)
        gone = f"{f'[{section}] ' if section else ''}{key} in tasks/{task.name}.toml"
        yield Told(name=name, words=words or "missing", how=how if words else "missing", of=of if words else gone)
    back = f"insource release rollback {task.name}"
    yield Told(name="way back", words=back, how="assumed", of="as usual; see docs/how-to/change-a-release.md")


def _criteria(task: Task) -> tuple[Told, ...]:
    """What the pilot has to show, in words: each line of the acceptance."""
    of = f"tasks/{task.name}.toml [acceptance]"
    if not task.acceptance:
        return (Told(name="criteria", words="missing", how="missing", of=of),)
    return tuple(
        Told(name=key, words=_demand(key, value), how="declared", of=f"{of} {key}")
        for key, value in task.acceptance.items()
    )


def _demand(key: str, value: float) -> str:
    if key in PERCENTILES:
        return f"{PERCENTILES[key]}% of volume within {value:g} ms"
    if key in AT_MOST:
        return f"{key} of {value:g} at most on the holdout"
    words = f"{value * 100:.4g}%"
    return f"at least {words} {key.replace('_', ' ')} on the holdout"


def _days(rollout: Rollout, files: Files) -> tuple[Figure, ...]:
    told = (("staging", "days in staging", rollout.staging_days, "staging_days"),
            ("shadow", "days in the shadow", rollout.shadow_days, "shadow_days"),
            ("canary", f"days at {rollout.canary[0]}%", rollout.canary_days, "canary_days"))  # fmt: skip
    found = []
    for key, name, value, field in told:
        how, of = files.of("rollout", field)
        found.append(Figure(key=f"pilot.{key}", name=name, value=value, unit="days", how=how, of=of))
    return tuple(found)


def _months(months: int, files: Files) -> Figure:
    said = "months" in files.company.get("price", {})
    of = "[price] months in insource.toml" if said else "as usual; [price] months in insource.toml changes it"
    rows = f"{of}; the sheet Cash has as many rows"
    return Figure(key="months", name="months of the case", value=months, unit="months",
                  how="declared" if said else "assumed", of=rows)  # fmt: skip
