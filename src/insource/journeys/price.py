"""What a task costs, each way it could be answered: the facts gathered, the options laid out, and compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from insource.errors import Invalid, Missing
from insource.journeys import known
from insource.journeys.assessed import automatic
from insource.journeys.known import CALLS_A_DAY, Facts
from insource.journeys.loads import newest
from insource.measure.adversarial import TAG
from insource.nouns import Noun, Release, Report, Task
from insource.nouns.pricing import (
    DAYS,
    HOURS,
    PAID,
    ApiPrice,
    Effort,
    MachineRate,
    Paid,
    People,
    PriceSettings,
    TaskPricing,
    Tokens,
    Use,
)
from insource.price.compare import Priced, compare
from insource.price.cost import Fleet, Option
from insource.price.known import Known, first
from insource.price.tables import CHEAP, apis, doubts, machines
from insource.settings import Settings, task_file
from insource.store import Store
from insource.store.files import write_whole
from insource.store.search import Wanted

NEWEST, ROWS = 2_000, 500
MACHINES = ("aws-c7i.2xlarge", "own-cpu")
STRONG = "gpt-6-sol"  # who is asked above where the task escalates and nobody is named
PEAK = 2.0
COMPANY = "in insource.toml"
PAID_FOR = (  # of an effort: how much, and at which price
    ("fte", "salary_usd", "engineer's salary", "US$ a year"),
    ("rows", "usd_per_row", "price of a label", "US$"),
    ("training_hours", "training_usd_per_hour", "an hour of training", "US$ an hour"),
)
PEOPLE = "people, no model"

T = TypeVar("T", ApiPrice, MachineRate)


class Asked(Noun, frozen=True, kw_only=True):
    """What was asked on top of what the files say: calls a day, and which APIs and machines to show."""

    calls_per_day: float | None = None
    apis: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()


class Rates(Noun, frozen=True, kw_only=True):
    """The tables with the company's own rows, and engines of insource.toml that have a price."""

    apis: dict[str, ApiPrice]
    machines: dict[str, MachineRate]
    engines: tuple[str, ...]

    def api(self, name: str) -> ApiPrice:
        """The API called `name`. Raises `Missing`."""
        return _of(self.apis, name, "API", "price.apis")

    def machine(self, name: str) -> MachineRate:
        """The machine called `name`. Raises `Missing`."""
        return _of(self.machines, name, "machine", "price.machines")


async def price(task: Task, settings: Settings, store: Store, asked: Asked, today: str) -> Priced:
    """The bill of every way, at the load that is measured, declared or assumed. `today` is YYYY-MM-DD.

    Raises `Missing` for an API or a machine that no table has, `Invalid` for figures that contradict each other.
    """
    facts = await gather(task, settings, store)
    rates = _rates(settings)
    said: list[Known] = []
    try:
        use = _use(facts, asked.calls_per_day, said)
        options, rows = _options(facts, rates, asked, settings.price, said)
        people = _by_people(facts, said)
        now = facts.said.incumbent or next((one.name for one in people), "")
        guessed = any(one.name == CALLS_A_DAY and one.how == "assumed" for one in said)
        found = compare([*options, *people], use, now, settings.price.months, guessed=guessed)
    except (ValueError, msgspec.ValidationError) as error:
        raise Invalid(f"{task.name} cannot be priced: {error}", hint="see [price] in docs/how-to/price.md") from error
    return msgspec.structs.replace(
        found, task=task.name, known=(*said, *known.of_calls(facts)), warnings=doubts(rows, today), created=today
    )


async def gather(task: Task, settings: Settings, store: Store) -> Facts:
    """What the store and the task's file know of it."""
    found = await store.find(Wanted(task=task.name), limit=NEWEST)
    dataset = await store.dataset(task.name)
    rows = (await store.examples(dataset.id))[:ROWS] if dataset else []
    live, newest_release, reports = (
        await store.live(task.name),
        await store.listings.newest_release(task.name),
        await store.reports(task.name),
    )
    release = live or newest_release
    _, file = task_file(settings, task.name)
    return Facts(
        task=task,
        said=_said(file.price, file.migrate.incumbent, settings),
        judged=file.suitability,
        seen=known.seen(found.records),
        rows=tuple(rows),
        labelled=sum(dataset.counts.values()) if dataset else 0,
        load=newest(task.name, settings),
        report=next((one for one in reversed(reports) if _times(one, release)), None),
        release=release.name if release else "",
        automatic=await automatic(task, live.name if live else "", release.name if release else "", store),
    )


def _times(report: Report, release: Release | None) -> bool:
    """Whether the report has the release's speed on rows as they come: made-up ones are longer, or nothing at all."""
    return TAG not in report.split and any(release and one.candidate == release.name for one in report.candidates)


def _said(own: TaskPricing, incumbent: str, settings: Settings) -> TaskPricing:
    """What the file declares of costs; who does it today is who `[migrate]` names, where `[price]` names nobody."""
    engine = settings.engines.get(incumbent)
    bought = engine is not None and bool(engine.usd_per_million_input or engine.usd_per_million_output)
    return msgspec.structs.replace(own, incumbent=incumbent) if bought and not own.incumbent else own


def write_page(found: Priced, path: Path) -> None:
    """Writes the comparison as one HTML file at `path`, whole or not at all. Raises `StoreError`."""
    from insource.price.page import html

    write_whole(path, html(found))


def _use(facts: Facts, asked: float | None, said: list[Known]) -> Use:
    own = facts.said
    calls = known.calls_per_day(facts, asked)
    tokens = [known.input_tokens(facts), known.cached_tokens(facts), known.output_tokens(facts)]
    hours = first("hours a day", "hours", (own.hours_per_day, "declared", "[price] hours_per_day"),
                  (HOURS, "assumed", "calls come round the clock"))  # fmt: skip
    days = first("days a month", "days", (own.days, "declared", "[price] days"), (DAYS, "assumed", "every day"))
    peak = first("peak over mean", "times", (own.peak, "declared", "[price] peak"),
                 (PEAK, "assumed", "the busiest moment has twice the calls of the mean"))  # fmt: skip
    said += [calls, *tokens, hours, days, peak]
    read, cached, written = (one.value for one in tokens)
    return Use(
        calls_per_day=calls.value,
        tokens=Tokens(input=read, cached=cached, output=written),
        hours_per_day=hours.value,
        days=days.value,
        peak=peak.value,
    )


Rows = list[ApiPrice | MachineRate]


def _options(
    facts: Facts, rates: Rates, asked: Asked, company: PriceSettings, said: list[Known]
) -> tuple[list[Option], Rows]:
    """Every way to show, hosted and on machines of one's own, and the rows of the tables that they stand on."""
    hosted = [rates.api(name) for name in dict.fromkeys([facts.said.incumbent, *asked.apis, *CHEAP, *rates.engines])
              if name]  # fmt: skip
    names = asked.machines or ((facts.said.machine,) if facts.said.machine else MACHINES)
    standing = [rates.machine(name) for name in dict.fromkeys(names)]
    speed, (people, watched) = known.calls_per_s(facts), _people(facts, company, said)
    share = known.escalated(facts)
    above = _above(facts, rates) if share.value else None
    effort = _effort(facts, company, standing[0], said)
    said += [speed, share]
    options = [Option(name=api.name, api=api, people=watched) for api in hosted]
    options += [
        Option(
            name=f"{facts.task.name} on {machine.name} ({paid.replace('_', ' ')})",
            fleet=Fleet(machine=machine, paid=paid, calls_per_s=speed.value),
            escalated=share.value,
            above=above,
            people=people,
            effort=effort,
        )
        for machine in standing
        for paid in _ways(facts, machine)
    ]
    used = [_used(machine, _ways(facts, machine)) for machine in standing]
    return options, [*hosted, *used, *([above] if above and above not in hosted else [])]


def _people(facts: Facts, company: PriceSettings, said: list[Known]) -> tuple[People, People]:
    """Who looks at doubtful answers: at those of one's own, and at an API's."""
    share = known.reviewed(facts)
    other = known.reviewed_api(facts, share)
    minutes = first("minutes of a review", "minutes", (facts.said.review_minutes, "declared", "[price] review_minutes"),
                    (known.MINUTES, "assumed", "nobody says how long a review takes"))  # fmt: skip
    pay = first("reviewers' rate", "US$ an hour",
                (company.reviewer_usd_per_hour, "declared", f"[price] reviewer_usd_per_hour {COMPANY}"),
                (known.REVIEWER, "assumed", "wages with all that comes on top"))  # fmt: skip
    said += [share, other, minutes, pay]
    own, hosted = (People(share=one.value, minutes=minutes.value, usd_per_hour=pay.value) for one in (share, other))
    return own, hosted


def _by_people(facts: Facts, said: list[Known]) -> list[Option]:
    """People doing all of it, where the task's file says how long they take and what they cost."""
    minutes, pay = facts.said.human_minutes, facts.said.human_usd_per_hour
    if minutes is None or pay is None:
        return []
    told = (("minutes of a case by hand", minutes, "minutes", "[price] human_minutes"),
            ("rate of those who do it", pay, "US$ an hour", "[price] human_usd_per_hour"))  # fmt: skip
    said += [Known(name=name, value=value, unit=unit, how="declared", of=of) for name, value, unit, of in told]
    return [Option(name=PEOPLE, hand=People(share=1.0, minutes=minutes, usd_per_hour=pay))]


def _effort(facts: Facts, company: PriceSettings, machine: MachineRate, said: list[Known]) -> Effort:
    """Labels, trainings and engineers, as the task's file has them or as they are assumed."""
    own = facts.said.effort
    if own != Effort():
        said.append(Known(name="effort", value=own.fte, unit="FTE", how="declared", of="[price.effort]"))
        return _declared(facts.task.name, own, company, said)
    there = None if not facts.labelled else 0.0
    rows = first("rows to label", "rows", (there, "measured", f"{facts.labelled:,} labelled rows are there, and paid"),
                 (known.ROWS, "assumed", "the least that a specialist needs"))  # fmt: skip
    label = first("price of a label", "US$", (company.usd_per_row, "declared", f"[price] usd_per_row {COMPANY}"),
                  (known.LABEL, "assumed", "a person, less than a minute"))  # fmt: skip
    fte = first("engineers", "FTE", (company.fte, "declared", f"[price] fte {COMPANY}"),
                (known.FTE, "assumed", "0.25 to 0.5 is usual"))  # fmt: skip
    salary = first("engineer's salary", "US$ a year", (company.salary_usd, "declared", f"[price] salary_usd {COMPANY}"),
                   (known.SALARY, "assumed", "with all that comes on top"))  # fmt: skip
    told = (("hours of a training", known.TRAINING_H, "hours", "of a machine at its hourly rate"),
            ("an hour of training", machine.on_demand or machine.spot or 0.0, "US$ an hour", f"on {machine.name}"),
            ("trainings a year", known.TRAININGS, "times", "one in a quarter"))  # fmt: skip
    training = [Known(name=name, value=value, unit=unit, how="assumed", of=of) for name, value, unit, of in told]
    said += [rows, label, fte, salary, *training]
    return Effort(
        rows=rows.value,
        usd_per_row=label.value,
        training_hours=known.TRAINING_H,
        training_usd_per_hour=training[1].value,
        trainings_per_year=known.TRAININGS,
        fte=fte.value,
        salary_usd=salary.value,
    )


def _declared(task: str, own: Effort, company: PriceSettings, said: list[Known]) -> Effort:
    """The effort of a task's file; a price that it leaves out is the company's. Raises `Invalid` without any."""
    for much, price, name, unit in PAID_FOR:
        if not getattr(own, much) or getattr(own, price):
            continue
        usd = getattr(company, price, None)
        if usd is None:
            other = f", or under [price] {COMPANY}" if hasattr(company, price) else ""
            raise Invalid(f"tasks/{task}.toml: [price.effort] has {much} and no {price}", hint=f"write it there{other}")
        said.append(Known(name=name, value=usd, unit=unit, how="declared", of=f"[price] {price} {COMPANY}"))
        own = msgspec.structs.replace(own, **{price: usd})
    return own


def _above(facts: Facts, rates: Rates) -> ApiPrice:
    """Who answers what is escalated: who the task's file names, an engine with a price, or a strong API."""
    engines = [name for name in facts.task.risk.otherwise if name in rates.engines]
    return rates.api(facts.said.escalate_to or next(iter(engines), STRONG))


def _ways(facts: Facts, machine: MachineRate) -> Sequence[Paid]:
    return (facts.said.paid,) if facts.said.paid in machine.ways and facts.said.paid else machine.ways


def _used(machine: MachineRate, ways: Sequence[Paid]) -> MachineRate:
    """The machine, with doubts of those of its rates only that are made use of."""
    doubted = tuple(name for name in machine.unverified if name in ways or (name not in PAID and "owned" in ways))
    return msgspec.structs.replace(machine, unverified=doubted)


def _rates(settings: Settings) -> Rates:
    """The tables; an engine of insource.toml with a price is an API by its own name."""
    bought = {
        name: ApiPrice(
            name=name,
            input=engine.usd_per_million_input,
            output=engine.usd_per_million_output,
            source="insource.toml",
        )
        for name, engine in settings.engines.items()
        if engine.usd_per_million_input or engine.usd_per_million_output
    }
    return Rates(
        apis=apis(settings.price.apis) | bought, machines=machines(settings.price.machines), engines=tuple(bought)
    )


def _of(rows: dict[str, T], name: str, what: str, section: str) -> T:
    if name not in rows:
        raise Missing(
            f"there is no {what} {name!r}", hint=f"[{section}.{name}] in insource.toml, or one of: {', '.join(rows)}"
        )
    return rows[name]
