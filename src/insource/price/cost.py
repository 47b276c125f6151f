"""What one way to answer costs a month, line by line, at the load that it has.

How busy its machines are follows from how many calls come and how many a machine was measured to answer: it is never an
input. All arithmetic is in floating point (IEEE 754 doubles): what is asked for is right to a millionth of a cent, and
prices are not known better than to some per cent. No I/O, no clock.

An escalated call pays twice: who answers first, and who answers in its stead. So do Chen, Zaharia and Zou count a
cascade's cost (FrugalGPT, 2023). That machines are paid for while they idle is what calculators leave out that take
utilisation as given (arXiv 2606.11690).
"""

import math
from typing import Literal

from insource.nouns import Noun
from insource.nouns.pricing import ApiPrice, Effort, MachineRate, Owned, Paid, People, Tokens, Use
from insource.nouns.task import Probability

MONTHS = 24
BY_PEOPLE = ("people", "by hand")
HAIR = 1e-9  # no machine is added for a billionth of what one carries


class Fleet(Noun, frozen=True, kw_only=True):
    """Machines of one kind, of which one answers `calls_per_s` in time, as a load test says; `least` always stand."""

    machine: MachineRate
    paid: Paid
    calls_per_s: float
    least: int = 1

    def __post_init__(self) -> None:
        if not (self.calls_per_s > 0 and math.isfinite(self.calls_per_s)):
            raise ValueError("a machine answers more than no call a second: calls_per_s is above 0")
        if self.least < 0:
            raise ValueError("the least number of machines is 0 or more")
        self.machine.month(self.paid, 0.0)


class Option(Noun, frozen=True, kw_only=True):
    """One way to answer: an `api`, or a `fleet` of one's own machines; with neither, people do all of it.

    The share `escalated` of the calls goes on to the API `above`. `tokens` are those of its own calls where they differ
    from the use's (an API needs the instruction and the examples that a specialist has learned). `people` look at
    answers, `hand` does cases from beginning to end.
    """

    name: str
    api: ApiPrice | None = None
    fleet: Fleet | None = None
    tokens: Tokens | None = None
    escalated: Probability = 0.0
    above: ApiPrice | None = None
    above_tokens: Tokens | None = None
    people: People = People()
    hand: People = People()
    effort: Effort = Effort()

    def __post_init__(self) -> None:
        if self.api is not None and self.fleet is not None:
            raise ValueError(f"{self.name} is answered by an API or by machines, not by both")
        if self.escalated and self.above is None:
            raise ValueError(f"{self.name} escalates, and nobody is named to whom")


Drive = Literal["calls", "machines", "people", "time", "once"]


class Line(Noun, frozen=True, kw_only=True):
    """A line of the bill, in US dollars a month; `drive` is what moves it. What is paid once is spread over months."""

    name: str
    usd: float
    drive: Drive


class Cost(Noun, frozen=True, kw_only=True):
    """What an option costs: `month_usd` is the sum of the lines, `running_usd` without what is paid `once_usd`.

    `call_usd` is the month by its calls, None without calls. `machines` stand at the busiest moment; `utilisation` is
    the share of what they could answer that is asked of them in the mean of the hours in which calls come, None where
    there are none.
    """

    option: str
    lines: tuple[Line, ...]
    month_usd: float
    running_usd: float
    once_usd: float
    call_usd: float | None
    machines: int
    utilisation: float | None


class Curve(Noun, frozen=True, kw_only=True):
    """Cost a month as a function of calls a day: a fixed part, one for each call a day, and steps.

    One more machine, at `step` US dollars a month, is needed for every `carries` calls a day, `least` always; without
    machines `carries` is 0.
    """

    fixed: float
    each: float
    step: float = 0.0
    carries: float = 0.0
    least: int = 0

    def machines(self, calls: float) -> int:
        """How many are needed for so many calls a day."""
        return max(self.least, math.ceil(calls / self.carries * (1 - HAIR))) if self.carries else 0

    def at(self, calls: float) -> float:
        """US dollars a month at so many calls a day."""
        return self.fixed + self.each * calls + self.step * self.machines(calls)

    @property
    def slope(self) -> float:
        """What a call a day costs a month in the long run, machines included."""
        return self.each + (self.step / self.carries if self.carries else 0.0)


def once(option: Option) -> dict[str, float]:
    """What is paid once, US dollars by name; machines that are bought are not among it (`bought` says them)."""
    effort = option.effort
    return {
        "labelling": effort.rows * effort.usd_per_row,
        "first training": effort.training,
        "set-up": effort.once_usd,
    }


def bought(option: Option, use: Use) -> float:
    """US dollars that owned machines cost when they are bought."""
    fleet = option.fleet
    if fleet is None or fleet.paid != "owned" or fleet.machine.owned is None:
        return 0.0
    return curve(option, use).machines(use.calls_per_day) * fleet.machine.owned.price_usd


def curve(option: Option, use: Use, months: int = MONTHS) -> Curve:
    """The cost a month by calls a day, all else as `use` says; what is paid once is spread over `months`."""
    effort, fleet = option.effort, option.fleet
    fixed = sum(once(option).values()) / months + _time(effort)
    each = use.days * sum(_per_call(option, use).values())
    if fleet is None:
        return Curve(fixed=fixed, each=each)
    return Curve(
        fixed=fixed,
        each=each,
        step=fleet.machine.month(fleet.paid, use.hours_per_month),
        carries=fleet.calls_per_s * use.hours_per_day * 3600 / use.peak,
        least=fleet.least,
    )


def cost(option: Option, use: Use, months: int = MONTHS) -> Cost:
    """The bill of a month, what is paid once spread over `months`."""
    bill = curve(option, use, months)
    machines = bill.machines(use.calls_per_day)
    effort = option.effort
    said: list[tuple[str, float, Drive]] = []
    for name, usd in _per_call(option, use).items():
        said.append((name, usd * use.calls_per_month, "people" if name in BY_PEOPLE else "calls"))
    said.append(("machines", machines * bill.step, "machines"))
    said.append(("training again", effort.training * effort.trainings_per_year / 12, "time"))
    said.append(("engineering", effort.fte * effort.salary_usd / 12, "time"))
    said += [(name, usd / months, "once") for name, usd in once(option).items()]
    lines = tuple(Line(name=name, usd=usd, drive=drive) for name, usd, drive in said if usd)
    month, spread = (sum(line.usd for line in lines if line.drive == "once" or whole) for whole in (True, False))
    could = machines * option.fleet.calls_per_s if option.fleet else 0.0
    return Cost(
        option=option.name,
        lines=lines,
        month_usd=month,
        running_usd=month - spread,
        once_usd=sum(once(option).values()) + bought(option, use),
        call_usd=month / use.calls_per_month if use.calls_per_month else None,
        machines=machines,
        utilisation=use.calls_per_s / could if could else None,
    )


def _per_call(option: Option, use: Use) -> dict[str, float]:
    """US dollars of one call in the mean, by what is paid."""
    above = 0.0
    if option.above is not None:
        above = option.escalated * option.above.call(option.above_tokens or use.tokens)
    return {
        "API": option.api.call(option.tokens or use.tokens) if option.api else 0.0,
        "escalation": above,
        "people": option.people.call,
        "by hand": option.hand.call,
    }


def _time(effort: Effort) -> float:
    """US dollars a month whatever is asked."""
    return effort.training * effort.trainings_per_year / 12 + effort.fte * effort.salary_usd / 12


def life(option: Option) -> float | None:
    """Months after which owned machines are bought again; None where none is owned."""
    owned = option.fleet.machine.owned if option.fleet and option.fleet.paid == "owned" else None
    return owned.years * 12 if isinstance(owned, Owned) else None
