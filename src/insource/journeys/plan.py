"""A task's rules at work: the path of one request, chosen among the engines that were opened for all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from insource.journeys.answer import Path, Tier
from insource.nouns import Request, Task
from insource.route import Choice, Facts, Policy, choose
from insource.settings import Settings

Tell = Callable[[str], str]


@dataclass(frozen=True)
class Plan:
    """Who may be asked, by name as rules call them, and how a text's language is told where a rule asks for it."""

    policy: Policy
    tiers: Mapping[str, Tier]
    tell: Tell

    @classmethod
    def of(cls, task: Task, policy: Policy, tiers: Mapping[str, Tier]) -> "Plan":
        """The plan of a task with rules. Raises `EngineDown` where one needs a language and nothing here tells it."""
        if not any(rule.when.language for rule in task.routes):
            return cls(policy, tiers, lambda _: "")
        from insource.engines.language import Languages

        return cls(policy, tiers, Languages().tell)

    def __call__(self, request: Request, path: Path) -> Path:
        """The path of `request`, its rule in words; what led to the task is said before it."""
        text = request.input
        facts = Facts(length=len(text), language=self.tell(text), caller=request.caller, tenant=request.tenant)
        choices = choose(path.task, facts, self.policy)
        rule = choices[0].rule if choices[0].rule != "task" else ""
        return replace(
            path, tiers=_allowed(choices, self.tiers), choose=None, rule="; ".join(filter(None, (path.rule, rule)))
        )


def policy_of(settings: Settings) -> Policy:
    """The workspace's policy, as its settings say it."""
    router = settings.router
    return Policy(
        regions={name: engine.place for name, engine in settings.engines.items()},
        otherwise=(router.otherwise,) if router.otherwise else (),
        sensitivity=router.sensitivity,
    )


def usual_tiers(task: Task, policy: Policy, tiers: Mapping[str, Tier]) -> tuple[Tier, ...]:
    """Those that are asked where no rule holds."""
    return _allowed(choose(msgspec.structs.replace(task, routes=()), Facts(length=0), policy), tiers)


def _allowed(choices: tuple[Choice, ...], tiers: Mapping[str, Tier]) -> tuple[Tier, ...]:
    return tuple(tiers[choice.engine] for choice in choices if choice.allowed and choice.engine in tiers)
