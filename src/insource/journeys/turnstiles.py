"""What stands before the servers of a process, and which of them rest: where the rules of `route` meet the engines."""

import time
from collections.abc import Mapping
from math import ceil

import msgspec

from insource.engines.deployment import Turnstile
from insource.engines.replicas import Pool, Replica
from insource.journeys.answer import Path
from insource.nouns.replicas import replica_names
from insource.route.breaker import Breaker, Rules
from insource.route.retries import Allowance, Retries
from insource.route.spread import Spread
from insource.settings import EngineSettings


def turnstile(name: str, settings: EngineSettings, known: dict[str, Turnstile]) -> Turnstile:
    """The one turnstile before the server that insource.toml calls `name`, made when it is first asked for."""
    if name not in known:
        budget, pool = Retries(allowance(settings), time.monotonic), pool_of(settings)
        breaker = Breaker(Rules(), time.monotonic) if settings.breaker and pool is None else None
        known.setdefault(name, Turnstile(name, settings, breaker, budget, pool))
    return known[name]


def pool_of(settings: EngineSettings) -> Pool | None:
    """The replicas of an engine, each behind a breaker of its own; None for an engine with a `base_url`."""
    if not settings.replicas:
        return None
    names = replica_names(settings.replicas)
    each = [Replica(name, Breaker(Rules(), time.monotonic) if settings.breaker else None) for name in names]
    return Pool(each, Spread(names))


def each_alone(settings: EngineSettings) -> list[EngineSettings]:
    """The settings of every server of an engine, as if it had no other."""
    return [msgspec.structs.replace(settings, base_url=url, replicas=()) for url in settings.servers]


def allowance(settings: EngineSettings) -> Allowance:
    """How much may be tried again: beside the usual, all calls that one replica of several has when it dies."""
    usual = Allowance()
    if not settings.replicas:
        return usual
    return msgspec.structs.replace(usual, floor=usual.floor + ceil(settings.max_concurrent / len(settings.replicas)))


def none_left(path: Path, known: dict[str, Turnstile]) -> bool:
    """True when every engine of the path is a server that rests."""
    names = [tier.engine.name for tier in path.tiers]
    return all(name in known and known[name].rests for name in names)


def resting(known: dict[str, Turnstile]) -> list[str]:
    """The servers that are left alone now because they failed lately, in words; of several replicas those that are."""
    found = [f"{name} rests after failures" for name, each in known.items() if each.rests]
    each = replicas(known).items()
    return found + [f"{replica} of {name} rests after failures" for (name, replica), (rests, _) in each if rests]


def replicas(known: Mapping[str, Turnstile]) -> dict[tuple[str, str], tuple[bool, int]]:
    """Engine and replica → whether it rests after failures, and its calls under way; of engines that have several."""
    pools = ((name, each.pool) for name, each in known.items() if each.pool.several)
    return {(name, one.name): (one.rests or one.ailing, one.under_way) for name, pool in pools for one in pool.replicas}
