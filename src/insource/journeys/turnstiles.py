"""What stands before the servers of a process, and which of them rest: where the rules of `route` meet the engines."""

import time

from insource.engines.deployment import Turnstile
from insource.journeys.answer import Path
from insource.route.breaker import Breaker, Rules
from insource.route.retries import Allowance, Retries
from insource.settings import EngineSettings


def turnstile(name: str, settings: EngineSettings, known: dict[str, Turnstile]) -> Turnstile:
    """The one turnstile before the server that insource.toml calls `name`, made when it is first asked for."""
    if name not in known:
        breaker = Breaker(Rules(), time.monotonic) if settings.breaker else None
        known.setdefault(name, Turnstile(name, settings, breaker, Retries(Allowance(), time.monotonic)))
    return known[name]


def none_left(path: Path, known: dict[str, Turnstile]) -> bool:
    """True when every engine of the path is a server that rests."""
    names = [tier.engine.name for tier in path.tiers]
    return all(name in known and known[name].rests for name in names)


def resting(known: dict[str, Turnstile]) -> list[str]:
    """The servers that are left alone now because they failed lately, in words."""
    return [f"{name} rests after failures" for name, each in known.items() if each.rests]
