"""What a migration asks, keeps and says: criteria before results, answers by digest, one verdict with its reasons."""

from typing import Annotated, Literal

from msgspec import Meta

from insource.nouns.base import JsonObject, Noun
from insource.nouns.observe import Levels
from insource.nouns.pricing import ApiPrice, Day, Effort, MachineRate, Paid, PriceSettings, TaskPricing, Use
from insource.nouns.report import Failures, Latency, Score
from insource.nouns.sections import RiskSettings
from insource.nouns.suitability import Answers

Word = Literal["go", "not yet", "stay", "cheaper"]
State = Literal["met", "missed", "undecided", "unmeasured"]
Kind = Literal["own", "api", "untuned"]
NOBODY = "none"


class Migrating(Noun, frozen=True, kw_only=True):
    """`[migrate]` of a task's file: what a migration compares with, and what it fine-tunes.

    `incumbent` is the engine of insource.toml that does the work today, "none" where none does; where empty, the model
    whose log was collected, if any was. It is no alternative any more where it `ends` on a day (YYYY-MM-DD). `bases`
    are the base models to fine-tune, the workspace's own where empty, none where it is "linear" alone; `recipe` is a
    recipe file, from the workspace. `untuned_rows` are asked of models that are not trained, which are slow, and an
    adversarial set is made of `attacked_rows`; None leaves both to the kind of task.
    """

    incumbent: str = ""
    ends: Day = ""
    bases: tuple[str, ...] = ()
    recipe: str = ""
    untuned_rows: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    attacked_rows: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class Prices(Noun, frozen=True, kw_only=True):
    """What costs are told from, as it stood when the run began: the use, the machine, list prices of APIs, people.

    `volume` is False where nobody says how many calls a day there are. `assumed` says in words what nobody said, and
    `doubts` what is to be said of the prices.
    """

    use: Use
    volume: bool
    machine: MachineRate
    paid: Paid
    listed: dict[str, ApiPrice] = {}
    review_minutes: float = 0.0
    reviewer_usd_per_hour: float = 0.0
    effort: Effort = Effort()
    months: int = 24
    assumed: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class EngineTerms(Noun, frozen=True, kw_only=True):
    """Where the texts go that an engine is sent, and what it costs, in US dollars per million tokens."""

    place: str = ""
    usd_per_million_input: float = 0.0
    usd_per_million_output: float = 0.0


class Criteria(Noun, frozen=True, kw_only=True):
    """What decides, fixed before any result. Its SHA-256 is the name of the run: other criteria are another run.

    `sample` is the SHA-256 of the ids of the `rows` rows that everyone is asked, of the split's `of`; `half_width` the
    half width of a 95% interval at the demanded accuracy, or at a half. `candidates` are names with the fingerprint of
    who stands behind each; untuned models are asked `untuned_rows`, and of `hard_rows` an adversarial set is made.
    `price` and `company` are what was declared of costs, `answers` what people said of the task's fit. `engines` are
    the terms of each engine; `levels` holds what a load must keep, `risk` what leaves without a person.
    """

    task: str
    task_digest: str
    dataset: str
    sample: str
    rows: int
    of: int
    half_width: float
    metric: str
    acceptance: dict[str, float]
    max_error: float | None
    margin: float
    incumbent: str
    ends: str
    candidates: dict[str, str]
    untuned_rows: int
    hard_rows: int
    bases: tuple[str, ...]
    recipe: JsonObject
    load_s: float
    price: TaskPricing = TaskPricing()
    company: PriceSettings = PriceSettings()
    answers: Answers = Answers()
    engines: dict[str, EngineTerms] = {}
    levels: Levels = Levels()
    risk: RiskSettings = RiskSettings()


class Assessment(Noun, frozen=True, kw_only=True):
    """A run as the store keeps it: by name the SHA-256 of what each piece of work found. `report` is the last of them.

    `id` is the SHA-256 of the criteria.
    """

    id: str
    task: str
    created: str
    code: str = ""
    machine: str = ""
    pieces: dict[str, str] = {}
    report: str = ""
    verdict: str = ""


class Rows(Noun, frozen=True, kw_only=True):
    """Kept rows, by the SHA-256 of their lines."""

    sha: str


class Names(Noun, frozen=True, kw_only=True):
    """A list of names."""

    names: tuple[str, ...]


class Finalist(Noun, frozen=True, kw_only=True):
    """What was fine-tuned: the release, its artefact's SHA-256, and from which confidence on it answers by itself.

    `threshold` is None where every answer counts; `promise` is False where the tolerated error could not be promised.
    `reused` says that it was there already, of the same rows and recipe.
    """

    base: str
    release: str = ""
    artefact: str = ""
    threshold: float | None = None
    promise: bool = True
    reused: bool = False
    failed: str = ""


class Line(Noun, frozen=True, kw_only=True):
    """What a candidate answered to one row, `correct` by the task's own measure (None: unscored).

    `given` says that it left by itself, under the rule that serves, and `threshold` the confidence that this demanded.
    `error` is why no engine answered. Of a failed call there is no value, and no cost that is known.
    """

    row: str
    value: JsonObject | None = None
    confidence: float | None = None
    correct: float | None = None
    finish: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    given: bool = False
    threshold: float | None = None
    error: str = ""


class Asked(Noun, frozen=True, kw_only=True):
    """One candidate's answers: `answers` is the SHA-256 of its lines, `times` of its milliseconds.

    `failed` says why there are none, `instruction` what an engine was told that was shown examples.
    """

    candidate: str
    kind: str
    instruction: str = ""
    priced: bool = False
    fingerprint: str = ""
    answers: str = ""
    times: str = ""
    failed: str = ""


class Times(Noun, frozen=True, kw_only=True):
    """Milliseconds: `alone` of calls made one at a time, `each` of every row in order, and rows a second in all."""

    alone: tuple[float, ...]
    each: tuple[float, ...]
    rows_per_s: float


class Demand(Noun, frozen=True, kw_only=True):
    """A line of the acceptance and how it stands: "undecided" where the 95% interval holds what is demanded."""

    name: str
    demanded: float
    at_most: bool
    state: State
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Against(Noun, frozen=True, kw_only=True):
    """A way minus the incumbent on the `n` rows both answered, with its 95% interval."""

    metric: str
    difference: float
    low: float
    high: float
    p: float
    n: int


class Way(Noun, frozen=True, kw_only=True):
    """One way to have the task answered, in numbers.

    `kind` is own (a release or an engine on the premises), api, or untuned (shown, never chosen). `allowed` is False
    where its texts may not go there; `measured` is False where only its price is known. `promise` is False where the
    risk that is tolerated could not be promised. `calls_per_s` is what one machine held, None where it was not loaded
    or held nothing. `beats` are the ways that it is better than by the interval. `usd_month` is None where the load or
    a price is not known. `engine` is the engine that was shown examples, empty where none were.
    """

    name: str
    kind: Kind
    allowed: bool = True
    measured: bool = True
    demands: tuple[Demand, ...] = ()
    against: Against | None = None
    promise: bool = True
    calls_per_s: float | None = None
    beats: tuple[str, ...] = ()
    usd_month: float | None = None
    usd_per_1k: float | None = None
    engine: str = ""


class Turn(Noun, frozen=True, kw_only=True):
    """At so many calls a day `way` becomes cheaper than `other`, or dearer where `cheaper` is False."""

    way: str
    other: str
    calls_per_day: float
    cheaper: bool


class Case(Noun, frozen=True, kw_only=True):
    """All that a verdict is told from.

    `compared` says whether the incumbent's answers to the same rows are known ("measured"), are "missing", or there is
    no incumbent ("none"). `unsuitable` says why the task is none for a small model, empty where it is one.
    """

    ways: tuple[Way, ...]
    rows: int
    margin: float
    incumbent: str = ""
    compared: Literal["measured", "missing", "none"] = "missing"
    incumbent_ends: str = ""
    calls_per_day: float | None = None
    calls_per_month: float | None = None
    turns: tuple[Turn, ...] = ()
    unsuitable: str = ""


class Missing(Noun, frozen=True, kw_only=True):
    """One thing that is missing, with its quantity: rows, points, answers, calls a day, a price, a promise, a load."""

    what: Literal["rows", "points", "answers", "volume", "price", "promise", "load", "milliseconds"]
    quantity: float
    words: str


class Change(Noun, frozen=True, kw_only=True):
    """What would change the verdict: the number at which it turns, told by arithmetic."""

    what: Literal["volume", "price", "quality", "rows", "margin"]
    at: float
    words: str


class Verdict(Noun, frozen=True, kw_only=True):
    """One word, the way that it names, why, what is missing, and what would change it.

    `rule` is the rule that held; `first` is what has to be said before the reasons, `then` the command that comes next.
    """

    word: Word
    rule: str
    way: str
    sentence: str
    first: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    changes: tuple[Change, ...] = ()
    then: str = ""


class Entrant(Noun, frozen=True, kw_only=True):
    """What was measured of one candidate, and what it would cost.

    `score` is the task's own metric on the sample; `hard` is accuracy on the adversarial set, `lost` that minus the
    same rows as they were, and `weakest` the way that costs most. `sure_wrong` is the share of that set that is wrong
    and leaves by itself, `sure_wrong_before` the same were every answer given. `automatic` is the share of the sample
    that leaves by itself, `held` the highest rate that held, in calls a second. `bill` is a month by line, in US
    dollars. `given_wrong` is the share of what leaves by itself that is wrong, None where nothing does. `release` and
    `base` are those of one that was fine-tuned, `instruction` what an engine was told that was shown examples.
    """

    name: str
    kind: str
    score: Score | None
    latency_ms: Latency
    failures: Failures
    usd_per_1k: float | None
    tokens: tuple[float, float]
    answers: str
    release: str = ""
    base: str = ""
    hard: Score | None = None
    lost: Score | None = None
    weakest: str = ""
    sure_wrong: Score | None = None
    sure_wrong_before: Score | None = None
    automatic: Score | None = None
    given_wrong: Score | None = None
    held: float | None = None
    bill: tuple[tuple[str, float], ...] = ()
    machines: int = 0
    instruction: str = ""


class Assessed(Noun, frozen=True, kw_only=True):
    """The report of a run, every figure of it told anew by `--replay` from what `pieces` names.

    `before` are earlier runs of the task with other criteria, whose results were known when these were written.
    """

    run: str
    task: str
    created: str
    code: str
    machine: str
    criteria: Criteria
    prices: Prices
    verdict: Verdict
    case: Case
    entrants: tuple[Entrant, ...]
    failed: dict[str, str]
    reports: dict[str, str]
    pieces: dict[str, str]
    before: tuple[str, ...] = ()
    suitability: str = ""
