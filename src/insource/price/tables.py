"""The prices that are known: of APIs from apis.toml, of machines from machines.toml, a company's own before both."""

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import TypeVar

import msgspec

from insource.nouns.pricing import ApiPrice, MachineRate

STALE_DAYS = 90
CHEAP = ("gpt-6-luna", "claude-haiku-5.5", "gemini-2.5-flash-lite")  # of each large provider the cheapest: always shown
OWN = "insource.toml"

T = TypeVar("T", ApiPrice, MachineRate)


def apis(own: Mapping[str, ApiPrice] | None = None) -> dict[str, ApiPrice]:
    """Every API by its name; those of `own` come before those of the table."""
    return _table("apis.toml", ApiPrice) | _named(own or {})


def machines(own: Mapping[str, MachineRate] | None = None) -> dict[str, MachineRate]:
    """Every machine by its name; those of `own` come before those of the table."""
    return _table("machines.toml", MachineRate) | _named(own or {})


def doubts(rows: Iterable[ApiPrice | MachineRate], today: str) -> tuple[str, ...]:
    """What is to be said of the rows before anything is made of them: too old, never dated, unverified, or ending."""
    found = []
    for row in rows:
        age = row.age(today)
        if age is None and row.source != OWN:
            found.append(f"the price of {row.name} has no date: look it up at {row.source}")
        elif age is not None and age > STALE_DAYS:
            found.append(f"the price of {row.name} is {age} days old ({row.checked}): look it up at {row.source}")
        if row.unverified:
            found.append(f"{row.name}: nobody has checked {', '.join(row.unverified)}")
        if isinstance(row, ApiPrice) and row.until:
            found.append(f"{row.name} at this price ends on {row.until}")
    return tuple(found)


def _table(name: str, kind: type[T]) -> dict[str, T]:
    text = files("insource.price").joinpath(name).read_text("utf-8")
    return {
        key: msgspec.convert(
            {"name": key, **entry},
            type=kind,
        )
        for key, entry in tomllib.loads(text).items()
    }


def _named(own: Mapping[str, T]) -> dict[str, T]:
    return {name: msgspec.structs.replace(row, name=name, source=row.source or OWN) for name, row in own.items()}
