"""The ways of a run in numbers: what is demanded of each, where its texts may go, and what kind of way it is."""

from msgspec.structs import replace

from insource.journeys.migrate_facts import Facts
from insource.journeys.migrate_ways import ways
from insource.measure.load import Load
from insource.nouns import Candidate, Failures, Latency, Output, Report, Score, Task, digest
from insource.nouns.assessment import Asked, Criteria, Demand, EngineTerms, Entrant, Finalist, Prices, Way
from insource.nouns.pricing import MachineRate, Use
from insource.stats import clopper_pearson_upper, wilson

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("up", "down")),))
RELEASE = "t@1.0.0"


def score(metric: str, right: int, n: int) -> Score:
    low, high = wilson(right, n)
    return Score(metric=metric, value=right / n, low=low, high=high, n=n)


def way(
    name: str, *, kind: str = "remote", answered: int = 300, asked: int = 300, usd: float | None = None,
    given_wrong: Score | None = None, task: Task = TASK, **criteria: object,
) -> Way:  # fmt: skip
    """The way of one candidate who answered `answered` of the rows that it was `asked`, all of them right."""
    found = Candidate(
        candidate=name,
        kind=kind,
        scores=(score("accuracy", answered, answered),),
        latency_ms=Latency(p50=1.0, p95=2.0, p99=3.0),
        usd_per_1k=usd,
        failures=Failures(n=answered, invalid=0, upper95=clopper_pearson_upper(0, answered)),
        details={"asked": asked, "timed": 5},
    )
    entrant = Entrant(
        name=name, kind=kind, score=found.scores[0], latency_ms=found.latency_ms, failures=found.failures,
        usd_per_1k=usd, tokens=(1.0, 1.0), answers="", release=RELEASE if name == RELEASE else "",
        given_wrong=given_wrong,
    )  # fmt: skip
    report = Report(task="t", dataset="d", split="test", candidates=(found,))
    (one,) = ways(_facts(task, criteria), report, [entrant], {})
    return one


def _facts(task: Task, criteria: dict[str, object]) -> Facts:
    plain: dict[str, object] = {"incumbent": "", "max_error": None, "margin": 0.02} | criteria
    return Facts(
        task=task,
        criteria=Criteria(
            task="t", task_digest=digest(task), dataset="d", sample="", rows=300, of=300, half_width=0.03,
            metric="accuracy", acceptance={}, ends="", candidates={}, untuned_rows=0, hard_rows=0, bases=(), recipe={},
            load_s=1.0, **plain,
        ),
        prices=Prices(use=Use(calls_per_day=1000), volume=True, machine=MachineRate(name="box"), paid="on_demand"),
        fit=None,
        asked=dict[str, Asked](),
        harder={},
        loads=dict[str, Load](),
        finalists={RELEASE: Finalist(base="linear", release=RELEASE)},
        harder_rows=[],
    )  # fmt: skip


def demand(of: Way, name: str) -> Demand | None:
    return next((one for one in of.demands if one.name == name), None)


def test_a_limit_on_errors_binds_what_a_release_gave_by_itself() -> None:
    def state(wrong: int, n: int) -> str:
        found = demand(way(RELEASE, kind="specialist", max_error=0.05, given_wrong=score("w", wrong, n)), "max_error")
        assert found is not None
        assert (found.at_most, found.n, found.value) == (True, n, wrong / n)
        return found.state

    assert [state(0, 200), state(8, 200), state(40, 200)] == ["met", "undecided", "missed"]


def test_of_a_release_that_gave_nothing_the_error_is_not_known() -> None:
    found = demand(way(RELEASE, kind="specialist", max_error=0.05), "max_error")
    assert found is not None
    assert found.state == "unmeasured"


def test_who_has_no_threshold_is_held_to_the_limit_with_every_answer() -> None:
    found = demand(way("large", max_error=0.05, usd=3.0), "max_error")
    assert found is not None
    assert (found.state, found.n) == ("met", 300)


def test_rows_that_were_left_unanswered_count_against_whoever_left_them() -> None:
    def state(answered: int, asked: int = 300) -> str:
        found = demand(way("mini", answered=answered, asked=asked, usd=0.1), "answered")
        assert found is not None
        assert (found.demanded, found.at_most, found.n, found.value) == (0.98, False, asked, answered / asked)
        return found.state

    assert [state(180), state(297), state(4995, 5000)] == ["missed", "undecided", "met"]


def test_who_answered_every_row_and_who_does_the_work_today_are_not_held_to_that() -> None:
    assert demand(way("mini", usd=0.1), "answered") is None
    assert demand(way("large", answered=180, usd=3.0, incumbent="large"), "answered") is None


def test_an_engine_that_nobody_priced_is_ones_own_only_on_the_premises() -> None:
    def kind(place: str, usd: float | None = None) -> str:
        return way("box", usd=usd, engines={"box": EngineTerms(place=place)}).kind

    assert [kind("premises"), kind("us"), kind(""), kind("us", 3.0)] == ["own", "api", "api", "api"]


def test_texts_that_stay_on_the_premises_may_not_go_where_a_log_is_from() -> None:
    def allowed(sensitivity: str) -> bool:
        return way("log:gpt-x", kind="log", task=replace(TASK, sensitivity=sensitivity)).allowed

    assert [allowed("any"), allowed("premises"), allowed("eu")] == [True, False, False]
