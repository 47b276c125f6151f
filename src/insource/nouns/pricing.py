"""What things cost: an API, a machine, and people's time. Money is US dollars, always."""

from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from insource.nouns.base import Noun
from insource.nouns.task import Probability

Usd = Annotated[float, Meta(ge=0, le=1e9)]
Amount = Annotated[float, Meta(ge=0, le=1e12)]
Hours = Annotated[float, Meta(gt=0, le=24)]
Day = Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]
Paid = Literal["on_demand", "reserved", "spot", "owned"]
PAID: tuple[Paid, ...] = ("on_demand", "reserved", "spot", "owned")
MILLION = 1e6
HOURS, DAYS = 24.0, 365 / 12  # an hour of the whole day; days of a mean month


class Tokens(Noun, frozen=True, kw_only=True):
    """Tokens of one call. `cached` are those of the `input` that the provider has read before and sells for less."""

    input: Amount = 0.0
    cached: Amount = 0.0
    output: Amount = 0.0

    def __post_init__(self) -> None:
        if self.cached > self.input:
            raise ValueError("the cached tokens of a call are a part of its input, not more than it")

    @property
    def all(self) -> float:
        """What is read and written."""
        return self.input + self.output


class _Dated(Noun, frozen=True, kw_only=True):
    """`source` is the provider's own page, `seen` where the figures were read if not there, `checked` on which day.

    `unverified` names the figures of which no more than one second-hand source was seen.
    """

    name: str = ""
    about: str = ""
    source: str = ""
    seen: str = ""
    checked: Day = ""
    unverified: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.checked:
            date.fromisoformat(self.checked)  # says what is wrong with it

    def age(self, today: str) -> int | None:
        """Days since the figures were read; None where nobody says when."""
        return (date.fromisoformat(today) - date.fromisoformat(self.checked)).days if self.checked else None


class ApiPrice(_Dated, frozen=True, kw_only=True):
    """An API's price in US dollars per million tokens; input that was read before costs `cached_input`, else as other.

    `until` is the day on which the provider ends it, where that is known.
    """

    input: Usd
    output: Usd
    cached_input: Usd | None = None
    until: Day = ""

    def call(self, tokens: Tokens) -> float:
        """US dollars of one call."""
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = tokens.input - tokens.cached
        return (fresh * self.input + tokens.cached * cached + tokens.output * self.output) / MILLION


class Owned(Noun, frozen=True, kw_only=True):
    """A machine of one's own: bought for `price_usd`, used for `years`; `watts` at work at the price of a kWh.

    `upkeep_usd` is what it costs a month besides: its place, its network, its repair.
    """

    price_usd: Usd
    years: Annotated[float, Meta(gt=0, le=50)] = 3.0
    watts: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    usd_per_kwh: Annotated[float, Meta(ge=0, le=100)] = 0.0
    upkeep_usd: Usd = 0.0

    @property
    def month(self) -> float:
        """US dollars a month of its life that are paid whether it works or not."""
        return self.price_usd / (12 * self.years) + self.upkeep_usd

    @property
    def hour(self) -> float:
        """US dollars of the power of an hour at work."""
        return self.watts / 1000 * self.usd_per_kwh


class MachineRate(_Dated, frozen=True, kw_only=True):
    """A machine's rate in US dollars an hour: `on_demand`, `reserved` (paid all day, every day), `spot`; or `owned`.

    What is not on offer is None. `card` is a name of `price/cards.toml`, with how many `cards` of it; none in a machine
    that has only processors.
    """

    on_demand: Usd | None = None
    reserved: Usd | None = None
    spot: Usd | None = None
    owned: Owned | None = None
    card: str = ""
    cards: Annotated[int, Meta(ge=0, le=1024)] = 0
    vcpus: Annotated[int, Meta(ge=0, le=4096)] = 0
    memory_gb: Amount = 0.0

    @property
    def ways(self) -> tuple[Paid, ...]:
        """How it can be paid."""
        return tuple(way for way in PAID if getattr(self, way) is not None)

    def month(self, paid: Paid, hours: float) -> float:
        """US dollars a month of one machine that works so many `hours` of it. Raises `ValueError` if not on offer."""
        rate = getattr(self, paid)
        if rate is None:
            raise ValueError(f"{self.name or 'this machine'} has no rate for {paid.replace('_', ' ')}")
        if isinstance(rate, Owned):
            return rate.month + rate.hour * hours
        return float(rate) * (HOURS * DAYS if paid == "reserved" else hours)


class Use(Noun, frozen=True, kw_only=True):
    """How much is asked: calls a day, the tokens of one, in how many hours of the day, on how many days a month.

    The busiest moment has `peak` times as many calls as the mean of those hours.
    """

    calls_per_day: Amount
    tokens: Tokens = Tokens()
    hours_per_day: Hours = HOURS
    days: Annotated[float, Meta(gt=0, le=31)] = DAYS
    peak: Annotated[float, Meta(ge=1, le=1e4)] = 1.0

    @property
    def calls_per_month(self) -> float:
        """Calls of a mean month."""
        return self.calls_per_day * self.days

    @property
    def hours_per_month(self) -> float:
        """Hours in which calls come."""
        return self.hours_per_day * self.days

    @property
    def calls_per_s(self) -> float:
        """Arrivals a second in the mean of those hours."""
        return self.calls_per_day / (self.hours_per_day * 3600)

    @property
    def tokens_per_day(self) -> float:
        """Tokens read and written."""
        return self.calls_per_day * self.tokens.all


class People(Noun, frozen=True, kw_only=True):
    """Of all calls the `share` that a person looks at, for so many `minutes` each, at a rate an hour."""

    share: Probability = 0.0
    minutes: Annotated[float, Meta(ge=0, le=1e4)] = 0.0
    usd_per_hour: Usd = 0.0

    @property
    def call(self) -> float:
        """US dollars of one call in the mean."""
        return self.share * self.minutes / 60 * self.usd_per_hour


class Effort(Noun, frozen=True, kw_only=True):
    """Work besides the calls.

    Once: `rows` labelled at `usd_per_row`, a training of `training_hours` at an hourly rate, and `once_usd` for all
    else. Then `trainings_per_year` more, and the share `fte` of an engineer at a `salary_usd` a year.
    """

    rows: Amount = 0.0
    usd_per_row: Usd = 0.0
    training_hours: Amount = 0.0
    training_usd_per_hour: Usd = 0.0
    trainings_per_year: Annotated[float, Meta(ge=0, le=1e4)] = 0.0
    fte: Annotated[float, Meta(ge=0, le=1e3)] = 0.0
    salary_usd: Usd = 0.0
    once_usd: Usd = 0.0

    @property
    def training(self) -> float:
        """US dollars of one training."""
        return self.training_hours * self.training_usd_per_hour


class PriceSettings(Noun, frozen=True, kw_only=True):
    """`[price]` of insource.toml: what is so in this company; what is None is assumed, and said to be.

    `apis` and `machines` come before those of the product's own tables.
    """

    apis: dict[str, ApiPrice] = {}
    machines: dict[str, MachineRate] = {}
    salary_usd: Usd | None = None
    reviewer_usd_per_hour: Usd | None = None
    usd_per_row: Usd | None = None
    fte: Annotated[float, Meta(ge=0, le=1e3)] | None = None
    months: Annotated[int, Meta(ge=1, le=120)] = 24


class TaskPricing(Noun, frozen=True, kw_only=True):
    """`[price]` of a task's file: what is known of its use and of who does it today.

    `incumbent` is a name of an API; `human_minutes` is what a person needs for one case without a model. `machine` is a
    name of a machine, `calls_per_s` how many calls a second one of it answers in time. People look at the share
    `reviewed` of the answers of one's own, and `reviewed_api` of an API's. The share `human_share` of all cases is done
    by people today: all where there is no `incumbent`; of that `human_share_after` is left. A wrong answer costs
    `wrong_usd`; `wrong_today` is the share of answers that are wrong today, where that was counted elsewhere.
    """

    calls_per_day: Amount | None = None
    hours_per_day: Hours | None = None
    days: Annotated[float, Meta(gt=0, le=31)] | None = None
    peak: Annotated[float, Meta(ge=1, le=1e4)] | None = None
    tokens: Tokens | None = None
    incumbent: str = ""
    machine: str = ""
    paid: Paid | None = None
    calls_per_s: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    escalated: Probability | None = None
    escalate_to: str = ""
    reviewed: Probability | None = None
    reviewed_api: Probability | None = None
    review_minutes: Annotated[float, Meta(ge=0, le=1e4)] | None = None
    human_minutes: Annotated[float, Meta(ge=0, le=1e4)] | None = None
    human_usd_per_hour: Usd | None = None
    human_share: Probability | None = None
    human_share_after: Probability | None = None
    wrong_usd: Usd | None = None
    wrong_today: Probability | None = None
    effort: Effort = msgspec.field(default=Effort())
