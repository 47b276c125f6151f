"""Who is asked: rules in the order they stand, and never an engine that sensitivity forbids."""

from hypothesis import given
from hypothesis import strategies as st

from insource.nouns import Risk, Route, Task, When
from insource.route import HUMAN, RELEASE, Facts, Guess, Policy, choose, reachable, recognised

REGIONS = {"here": "premises", "eu1": "eu", "us1": "us", "somewhere": ""}
POLICY = Policy(regions=REGIONS)
LONG = Facts(length=5000)


def task(*routes: Route, sensitivity="any", otherwise=("here", "review")) -> Task:
    return Task(
        name="t", kind="generate", sensitivity=sensitivity, risk=Risk(otherwise=otherwise), routes=tuple(routes)
    )


def asked(task, facts=LONG, policy=POLICY) -> list[str]:
    return [choice.engine for choice in choose(task, facts, policy) if choice.allowed]


def rule(*engines, sensitivity="any", **when) -> Route:
    return Route(when=When(**when), engines=engines, sensitivity=sensitivity)


def test_without_rules_the_release_is_asked_then_the_help_then_a_person():
    choices = choose(task(), LONG, POLICY)
    assert [choice.engine for choice in choices] == [RELEASE, "here", HUMAN]
    assert {choice.rule for choice in choices} == {"task"}


def test_the_first_rule_that_holds_decides_and_says_so():
    rules = rule("eu1", longer_than=9000), rule("us1", "here", longer_than=4000), rule("somewhere")
    assert asked(task(*rules)) == ["us1", "here", HUMAN]
    assert choose(task(*rules), LONG, POLICY)[0].rule == "rule: longer than 4,000 characters"
    assert asked(task(*rules), Facts(length=3)) == ["somewhere", HUMAN]
    assert choose(task(*rules), Facts(length=3), POLICY)[0].rule == "rule: every request"


def test_every_condition_of_a_rule_must_hold():
    both = task(rule("eu1", longer_than=10, shorter_than=20, language=("de", "fr"), caller=("desk",), tenant=("acme",)))
    facts = {"length": 15, "language": "fr", "caller": "desk", "tenant": "acme"}
    assert asked(both, Facts(**facts)) == ["eu1", HUMAN]
    words = "rule: longer than 10 characters, shorter than 20 characters, language de or fr, caller desk, tenant acme"
    assert choose(both, Facts(**facts), POLICY)[0].rule == words
    for other in ({"length": 10}, {"length": 20}, {"language": ""}, {"caller": "x"}, {"tenant": "x"}):
        assert asked(both, Facts(**facts | other)) == [RELEASE, "here", HUMAN]


def test_a_rule_can_send_a_request_straight_to_a_person():
    assert asked(task(rule("review", "us1", longer_than=1))) == [HUMAN]


def test_a_rule_can_only_narrow_where_the_text_may_go():
    assert asked(task(rule(sensitivity="premises"), otherwise=("us1", "here"))) == [RELEASE, "here", HUMAN]
    assert asked(task(rule("us1", "eu1", sensitivity="any"), sensitivity="eu")) == ["eu1", HUMAN]
    assert asked(task(rule("us1", "eu1", sensitivity="us"), sensitivity="eu")) == [HUMAN], (
        "allowed by both, or not at all"
    )


def test_a_request_of_no_known_task_goes_where_the_owner_says_or_to_nobody():
    assert asked(None) == [HUMAN]
    assert asked(None, policy=Policy(regions=REGIONS, otherwise=("us1",))) == [HUMAN]
    assert asked(None, policy=Policy(regions=REGIONS, otherwise=("us1",), sensitivity="any")) == ["us1", HUMAN]


def test_what_is_reachable_is_all_that_any_request_would_ask():
    rules = rule("eu1", longer_than=9), rule("us1", sensitivity="premises"), rule("us1", caller=("x",)), rule("ghost")
    found = {choice.engine: choice.allowed for choice in reachable(task(*rules), POLICY)}
    assert found == {"here": True, "eu1": True, "us1": True, "ghost": False}


def test_the_router_names_a_task_only_when_it_is_sure_and_the_caller_may():
    guess = Guess(ranked=(("mails", 0.93), ("tickets", 0.05)), threshold=0.9)
    assert recognised(guess, {"mails", "tickets"}) == ("mails", "router: mails at 0.93")
    assert recognised(guess, {"tickets"}) == (None, "router: does not know")
    unsure = Guess(ranked=(("mails", 0.4), ("tickets", 0.3)), threshold=0.9)
    assert recognised(unsure, {"mails"}) == (None, "router: does not know; mails at 0.40 is below 0.90")
    assert recognised(Guess(ranked=(), threshold=0.0), {"mails"}) == (None, "router: does not know")


NAMES = st.sampled_from([RELEASE, HUMAN, "here", "eu1", "us1", "somewhere", "ghost"])
WHERE = st.one_of(
    st.sampled_from(["premises", "any", "eu", "us", "mars"]),
    st.lists(st.sampled_from(["eu", "us", "premises", "any"]), max_size=3).map(tuple),
)
FEW = st.lists(st.sampled_from(["de", "en", "fr"]), max_size=2).map(tuple)
MAYBE = st.none() | st.integers(1, 100)
WHENS = st.builds(When, longer_than=MAYBE, shorter_than=MAYBE, language=FEW, caller=FEW, tenant=FEW)
ROUTES = st.builds(Route, when=WHENS, engines=st.lists(NAMES, max_size=4).map(tuple), sensitivity=WHERE)
FACTS = st.builds(Facts, length=st.integers(0, 100), language=st.sampled_from(["", "de", "en"]),
                  caller=st.sampled_from(["", "de"]), tenant=st.sampled_from(["", "fr"]))  # fmt: skip
TASKS = st.builds(
    lambda routes, where, help_: task(*routes, sensitivity=where, otherwise=help_),
    st.lists(ROUTES, max_size=4), WHERE, st.lists(NAMES, max_size=4).map(tuple),
)  # fmt: skip
POLICIES = st.builds(
    lambda names, where: Policy(regions=REGIONS, otherwise=names, sensitivity=where),
    st.lists(NAMES, max_size=3).map(tuple), WHERE,
)  # fmt: skip


def allows(where, region: str) -> bool:
    regions = (where,) if isinstance(where, str) else where
    return "any" in regions or region == "premises" or (region != "" and region in regions)


@given(TASKS | st.none(), FACTS, POLICIES)
def test_choose_is_total_and_pure_and_ends_with_a_person(task, facts, policy):
    choices = choose(task, facts, policy)
    assert choices == choose(task, facts, policy)
    assert choices[-1].engine == HUMAN
    assert choices[-1].allowed
    assert len({choice.engine for choice in choices}) == len(choices), "nobody is asked twice"
    assert all(choice.reason and choice.rule for choice in choices)


@given(TASKS | st.none(), FACTS, POLICIES)
def test_no_engine_is_asked_that_sensitivity_forbids(task, facts, policy):
    for choice in choose(task, facts, policy):
        if choice.allowed and choice.engine not in (RELEASE, HUMAN):
            assert choice.engine in REGIONS, "an engine that is not configured is asked by nobody"
            assert allows(task.sensitivity if task else policy.sensitivity, REGIONS[choice.engine])


@given(TASKS, FACTS, POLICIES)
def test_whoever_is_asked_was_reachable_when_the_path_was_opened(task, facts, policy):
    opened = {choice.engine for choice in reachable(task, policy) if choice.allowed} | {RELEASE, HUMAN}
    assert {choice.engine for choice in choose(task, facts, policy) if choice.allowed} <= opened
