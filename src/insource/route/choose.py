"""Who is asked, in which order, and by which rule: a pure function of the task, the request and the policy."""

from collections.abc import Callable, Collection, Iterable, Mapping

from insource.nouns import Noun, Route, Task, When
from insource.route.policy import Choice, permitted

RELEASE, HUMAN, AUTO = "release", "review", "auto"
LAST = "a person answers what nobody else may or can"
Sensitivity = str | tuple[str, ...]


class Facts(Noun, frozen=True, kw_only=True):
    """What rules may know of a request: characters of its input, its language ("" unknown), who calls, who pays."""

    length: int
    language: str = ""
    caller: str = ""
    tenant: str = ""


class Policy(Noun, frozen=True, kw_only=True):
    """The workspace's own: the region of every configured engine, and who is asked where nobody knows the task.

    Without a task, `sensitivity` says where the text may go.
    """

    regions: Mapping[str, str]
    otherwise: tuple[str, ...] = ()
    sensitivity: Sensitivity = "premises"


class Guess(Noun, frozen=True, kw_only=True):
    """Which task a request is for, as the router sees it: every task with its chance (0 to 1), the likeliest first.

    Below `threshold` it does not know.
    """

    ranked: tuple[tuple[str, float], ...]
    threshold: float


def choose(task: Task | None, facts: Facts, policy: Policy) -> tuple[Choice, ...]:
    """Everyone whom the task, or the first of its rules that holds, would ask, in order; a person is always the last.

    None is a request of which nobody knows the task. What sensitivity forbids is in the list and not allowed.
    """
    if task is None:
        return _choices(policy.otherwise, "unknown", policy, (policy.sensitivity,))
    rule = next((rule for rule in task.routes if holds(rule.when, facts)), None)
    usual = (RELEASE, *task.risk.otherwise)
    if rule is None:
        return _choices(usual, "task", policy, (task.sensitivity,))
    return _choices(rule.engines or usual, f"rule: {words(rule)}", policy, (task.sensitivity, rule.sensitivity))


def reachable(task: Task, policy: Policy) -> tuple[Choice, ...]:
    """Every engine that some request of the task would ask, each once; one that any request may ask is allowed."""
    found: dict[str, Choice] = {}
    usual = (RELEASE, *task.risk.otherwise)
    for rule in (Route(), *task.routes):
        for choice in _choices(rule.engines or usual, "", policy, (task.sensitivity, rule.sensitivity)):
            if choice.engine not in found or choice.allowed:
                found[choice.engine] = choice
    return tuple(choice for name, choice in found.items() if name not in (RELEASE, HUMAN))


def recognised(guess: Guess, may: Collection[str]) -> tuple[str | None, str]:
    """The task that the router chose, with the rule in words; None where it is not sure, or may not choose it.

    Tasks outside `may` are not named: who may not call them need not hear of them.
    """
    task, chance = guess.ranked[0] if guess.ranked else ("", 0.0)
    if task not in may:
        return None, "router: does not know"
    if chance >= guess.threshold:
        return task, f"router: {task} at {chance:.2f}"
    return None, f"router: does not know; {task} at {chance:.2f} is below {guess.threshold:.2f}"


def holds(when: When, facts: Facts) -> bool:
    """Whether every condition holds; a language that nobody could tell is none of any list."""
    return all(test(wanted, facts) for name, test in TESTS.items() if (wanted := getattr(when, name)) not in (None, ()))


def words(rule: Route) -> str:
    """The rule as its condition, for people: "longer than 4,000 characters, language de"."""
    parts = [WORDS[name](wanted) for name in TESTS if (wanted := getattr(rule.when, name)) not in (None, ())]
    return ", ".join(parts) or "every request"


def _choices(
    names: Iterable[str], rule: str, policy: Policy, sensitivities: tuple[Sensitivity, ...]
) -> tuple[Choice, ...]:
    found = []
    for name in dict.fromkeys(names):
        if name == HUMAN:
            break
        if name == RELEASE:
            said = Choice(engine=RELEASE, allowed=True, reason="the task's own release, in this process", rule=rule)
        else:
            one = permitted(name, policy.regions.get(name), *sensitivities)
            said = Choice(engine=name, allowed=one.allowed, reason=one.reason, rule=rule)
        found.append(said)
    return (*found, Choice(engine=HUMAN, allowed=True, reason=LAST, rule=rule))


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)


TESTS: dict[str, Callable[..., bool]] = {
    "longer_than": lambda wanted, facts: facts.length > wanted,
    "shorter_than": lambda wanted, facts: facts.length < wanted,
    "language": lambda wanted, facts: facts.language in wanted,
    "caller": lambda wanted, facts: facts.caller in wanted,
    "tenant": lambda wanted, facts: facts.tenant in wanted,
}
WORDS: dict[str, Callable[..., str]] = {
    "longer_than": "longer than {:,} characters".format,
    "shorter_than": "shorter than {:,} characters".format,
    "language": lambda wanted: f"language {_either(wanted)}",
    "caller": lambda wanted: f"caller {_either(wanted)}",
    "tenant": lambda wanted: f"tenant {_either(wanted)}",
}
