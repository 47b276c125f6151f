"""The verdict as a function of numbers: what each rule wants, and what no numbers can bring about."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from insource.nouns.assessment import Against, Case, Demand, Turn, Way
from insource.release.verdict import RULES, good, verdict, view
from insource.release.verdict_gaps import rows_to_decide
from insource.stats import wilson

replace = msgspec.structs.replace
MET = Demand(name="accuracy", demanded=0.9, at_most=False, state="met", value=0.95, low=0.92, high=0.97, n=300)
UNDECIDED = replace(MET, state="undecided", value=0.92, low=0.88, high=0.95)
MISSED = replace(MET, state="missed", value=0.80, low=0.76, high=0.84)
EVEN = Against(metric="accuracy", difference=0.0, low=-0.01, high=0.01, p=1.0, n=300)
OWN = Way(name="t@1.0.0", kind="own", demands=(MET,), against=EVEN, calls_per_s=50.0, usd_month=200.0)
API = Way(name="mini", kind="api", demands=(MET,), against=EVEN, usd_month=90.0, usd_per_1k=0.3)
TODAY = Way(name="large", kind="api", demands=(MET,), usd_month=900.0, usd_per_1k=3.0)
CASE = Case(ways=(OWN, TODAY), rows=300, margin=0.02, incumbent="large", compared="measured", calls_per_day=10_000.0,
            calls_per_month=304_000.0)  # fmt: skip


def with_ways(*ways: Way, **other: object) -> Case:
    return replace(CASE, ways=ways, **other)


def test_what_is_as_good_and_not_dearer_is_a_go() -> None:
    found = verdict(CASE)
    assert (found.word, found.way, found.rule) == ("go", "t@1.0.0", "good enough and not dearer")
    assert "$200 a month, $900 today" in found.sentence


def test_what_costs_exactly_as_much_is_not_dearer() -> None:
    assert verdict(with_ways(replace(OWN, usd_month=900.0), TODAY)).word == "go"


def test_what_is_dearer_than_what_is_there_stays_away() -> None:
    found = verdict(with_ways(replace(OWN, usd_month=900.01), TODAY))
    assert (found.word, found.way) == ("stay", "large")


def test_a_cheaper_api_that_is_as_good_wins_over_the_machine() -> None:
    found = verdict(with_ways(OWN, API, TODAY))
    assert (found.word, found.way) == ("cheaper", "mini")


def test_a_cheaper_api_that_misses_what_is_demanded_does_not() -> None:
    assert verdict(with_ways(OWN, replace(API, demands=(MISSED,)), TODAY)).word == "go"


def test_where_texts_may_not_leave_no_api_is_an_alternative() -> None:
    away = [replace(way, allowed=False) for way in (API, TODAY)]
    assert verdict(with_ways(replace(OWN, usd_month=5_000.0), *away)).word == "go"


def test_an_incumbent_that_ends_is_no_alternative() -> None:
    dear = replace(OWN, usd_month=5_000.0)
    assert verdict(with_ways(dear, TODAY)).word == "stay"
    assert verdict(with_ways(dear, TODAY, incumbent_ends="2026-12-31")).word == "go"


def test_without_the_incumbents_answers_it_is_never_a_go_and_says_so_first() -> None:
    own = replace(OWN, against=None)
    found = verdict(with_ways(own, compared="missing", incumbent=""))
    assert found.word == "not yet"
    assert "was not asked" in found.first[0]
    assert [(gap.what, gap.quantity) for gap in found.missing] == [("answers", 300)]


def test_where_nothing_does_the_work_what_was_demanded_decides() -> None:
    found = verdict(with_ways(replace(OWN, against=None), compared="none", incumbent=""))
    assert found.word == "go"
    assert "Nothing does this work today" in found.first[0]


def test_an_interval_that_holds_the_demand_is_missing_rows() -> None:
    found = verdict(with_ways(replace(OWN, demands=(UNDECIDED,)), TODAY))
    assert found.word == "not yet"
    assert [gap.what for gap in found.missing] == ["rows"]
    assert found.missing[0].quantity == 300 * 4, "the half width of 4 points has to become 2"


def test_what_is_missed_is_missing_points() -> None:
    found = verdict(with_ways(replace(OWN, demands=(MISSED,)), TODAY))
    assert [gap.what for gap in found.missing] == ["points"]
    assert abs(found.missing[0].quantity - 0.10) < 1e-9


def test_a_difference_that_is_not_decided_is_missing_rows_and_a_larger_one_points() -> None:
    unsure = replace(EVEN, difference=-0.01, low=-0.03, high=0.01)
    found = verdict(with_ways(replace(OWN, against=unsure), TODAY))
    assert [(gap.what, gap.quantity) for gap in found.missing] == [("rows", 1200)]
    worse = replace(EVEN, difference=-0.05, low=-0.07, high=-0.03)
    found = verdict(with_ways(replace(OWN, against=worse), TODAY))
    assert [gap.what for gap in found.missing] == ["points"]


def test_a_promise_a_load_and_a_volume_that_are_not_there_are_named() -> None:
    bare = replace(OWN, promise=False, calls_per_s=None)
    missing = {gap.what for gap in verdict(with_ways(bare, TODAY)).missing}
    assert missing == {"promise", "load"}
    assert "insource migrate TASK --yes" in verdict(with_ways(replace(OWN, calls_per_s=None), TODAY)).then
    found = verdict(with_ways(OWN, TODAY, calls_per_month=None, calls_per_day=None))
    assert found.word == "not yet"
    assert [gap.what for gap in found.missing] == ["volume"]


def test_a_cheaper_api_of_which_only_the_price_is_known_is_to_be_measured() -> None:
    listed = Way(name="list", kind="api", measured=False, usd_month=10.0)
    found = verdict(with_ways(OWN, listed, TODAY))
    assert (found.word, found.rule) == ("not yet", "a cheaper one was not measured")
    assert any("list" in gap.words for gap in found.missing)
    assert verdict(with_ways(OWN, replace(listed, allowed=False), TODAY)).word == "go"


def test_without_the_cost_of_what_is_there_or_could_be_it_is_no_go_and_the_price_is_missing() -> None:
    for ways, who in (
        ((OWN, replace(TODAY, usd_month=None)), "large"),
        ((OWN, replace(API, usd_month=None), TODAY), "mini"),
        ((API, replace(TODAY, usd_month=None)), "large"),
    ):
        found = verdict(with_ways(*ways))
        assert (found.word, found.rule) == ("not yet", "what another costs is not known")
        assert [gap.what for gap in found.missing] == ["price"]
        assert who in found.missing[0].words
        assert who in found.sentence
        assert "insource.toml" in found.then


def test_what_is_no_alternative_needs_no_price() -> None:
    unknown = replace(API, usd_month=None)
    assert verdict(with_ways(OWN, replace(unknown, allowed=False), TODAY)).word == "go"
    assert verdict(with_ways(OWN, replace(unknown, demands=(MISSED,)), TODAY)).word == "go"
    assert verdict(with_ways(OWN, replace(TODAY, usd_month=None), incumbent_ends="2026-12-31")).word == "go"
    assert verdict(with_ways(OWN, API, replace(unknown, name="other"), TODAY)).word == "cheaper"


def test_an_unsuitable_task_stays_with_the_reason() -> None:
    found = verdict(replace(CASE, unsuitable="no task for a small model: it is creative writing"))
    assert (found.word, found.rule) == ("stay", "unsuitable")
    assert found.sentence == "Stay: it is no task for a small model: it is creative writing."


def test_where_nobody_could_take_over_it_says_so() -> None:
    assert verdict(with_ways(TODAY)).sentence == "Stay with large: nobody else was asked who could take over."


def test_what_nearly_could_but_would_cost_more_is_a_stay_not_a_not_yet() -> None:
    near = replace(OWN, demands=(UNDECIDED,))
    assert verdict(with_ways(replace(near, usd_month=2_000.0), TODAY)).word == "stay"


def test_of_two_that_cost_the_same_the_simpler_one_wins_unless_the_other_is_better() -> None:
    linear, tuned = replace(OWN, name="t@1.0.0"), replace(OWN, name="t@1.1.0")
    assert verdict(with_ways(linear, tuned, TODAY)).way == "t@1.0.0"
    assert verdict(with_ways(linear, replace(tuned, beats=("t@1.0.0",)), TODAY)).way == "t@1.1.0"


def test_what_would_change_it_names_the_volume_the_price_and_the_margin() -> None:
    turn = Turn(way="t@1.0.0", other="large", calls_per_day=2_222.0, cheaper=True)
    found = verdict(replace(CASE, turns=(turn,)))
    at = {change.what: change.at for change in found.changes}
    assert at["volume"] == 2_222.0
    assert abs(at["price"] - 200.0 / 304.0) < 1e-9, "US dollars for 1,000 calls at which both cost the same"
    assert at["margin"] == 0.01


shares = st.floats(0.0, 1.0)
states = st.sampled_from(["met", "missed", "undecided", "unmeasured"])
demands = st.builds(
    Demand, name=st.just("accuracy"), demanded=shares, at_most=st.booleans(), state=states,
    value=st.none() | shares, low=st.none() | shares, high=st.none() | shares, n=st.integers(1, 5000),
)  # fmt: skip
differences = st.floats(-0.5, 0.5)


@st.composite
def againsts(draw: st.DrawFn) -> Against:
    low, value, high = sorted(draw(st.tuples(differences, differences, differences)))
    return Against(metric="accuracy", difference=value, low=low, high=high, p=0.5, n=draw(st.integers(1, 5000)))


@st.composite
def decided(draw: st.DrawFn) -> Demand:
    n, share, bar = draw(st.integers(20, 2000)), draw(shares), draw(shares)
    right = round(n * share)
    low, high = wilson(right, n)
    state = "met" if low >= bar else "missed" if high < bar else "undecided"
    return Demand(name="accuracy", demanded=bar, at_most=False, state=state, value=right / n, low=low, high=high, n=n)


money = st.none() | st.floats(0, 1e6)
ways_ = st.builds(
    Way, name=st.sampled_from(["a", "b", "c", "d"]), kind=st.sampled_from(["own", "api", "untuned"]),
    allowed=st.booleans(), measured=st.booleans(), demands=st.lists(decided(), max_size=3).map(tuple),
    against=st.none() | againsts(), promise=st.booleans(), calls_per_s=st.none() | st.floats(0.01, 1e4),
    beats=st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=2).map(tuple), usd_month=money,
)  # fmt: skip
cases = st.builds(
    Case, ways=st.lists(ways_, max_size=5, unique_by=lambda way: way.name).map(tuple), rows=st.integers(20, 500),
    margin=st.floats(0, 0.1), incumbent=st.sampled_from(["", "a", "b"]),
    compared=st.sampled_from(["measured", "missing", "none"]), incumbent_ends=st.sampled_from(["", "2026-12-31"]),
    calls_per_day=st.none() | st.floats(0, 1e6), calls_per_month=st.none() | st.floats(1, 3e7),
    unsuitable=st.sampled_from(["", "", "", "it is creative writing."]),
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(cases)
def test_no_numbers_bring_about_a_go_that_is_not_earned(case: Case) -> None:
    found = verdict(case)
    ways = {way.name: way for way in case.ways}
    if found.word == "go":
        way = ways[found.way]
        assert way.kind == "own"
        assert way.allowed
        assert way.calls_per_s
        assert way.promise
        assert all(demand.state == "met" for demand in way.demands)
        assert case.compared == "none" or (way.against is not None and way.against.low > -case.margin)
        assert not case.unsuitable
        for other in case.ways:
            rival = other.name != way.name and other.kind != "untuned" and good(other, case)
            if rival and other.usd_month is not None and way.usd_month is not None and other.name != case.incumbent:
                assert way.usd_month <= other.usd_month * 1.01
    if case.compared == "missing":
        assert found.word in ("not yet", "stay")
        assert found.first
    if found.word == "cheaper":
        assert ways[found.way].kind == "api"
        assert good(ways[found.way], case)
        assert ways[found.way].usd_month is not None
    if found.word == "not yet":
        assert found.missing or view(case).own is None or found.rule == "how much it is called"
    assert found.sentence.endswith(".")
    assert found.rule in {rule.name for rule in RULES}
    assert verdict(case) == found


@settings(max_examples=300, deadline=None)
@given(cases)
def test_nothing_is_a_go_beside_an_alternative_whose_cost_is_not_known(case: Case) -> None:
    if verdict(case).word != "go":
        return
    assert all(other.usd_month is not None for other in case.ways if other.kind == "api" and good(other, case))
    today = view(case).incumbent
    assert today is None or today.usd_month is not None


@settings(max_examples=300, deadline=None)
@given(cases, st.floats(0, 1e6))
def test_a_dearer_own_way_never_turns_a_verdict_into_a_go(case: Case, more: float) -> None:
    if verdict(case).word == "go":
        return
    dearer = tuple(
        replace(way, usd_month=way.usd_month + more) if way.kind == "own" and way.usd_month is not None else way
        for way in case.ways
    )
    others = [way for way in case.ways if way.kind == "own" and way.name != case.incumbent]
    if len(others) == 1 and case.incumbent not in {way.name for way in case.ways if way.kind == "own"}:
        assert verdict(replace(case, ways=dearer)).word != "go"


@settings(max_examples=200, deadline=None)
@given(st.integers(200, 4000), st.floats(0.6, 0.97), st.floats(0.01, 0.05))
def test_the_rows_that_are_missing_decide(n: int, share: float, room: float) -> None:
    bar = share - room
    low, _ = wilson(share * n, n)
    if low >= bar:
        return
    rows = rows_to_decide(share, low, bar, n)
    assert abs(wilson(share * rows, rows)[0] - bar) < 0.25 * room, "about so many rows put the bound on the bar"
