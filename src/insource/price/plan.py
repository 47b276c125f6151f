"""A model under a load, in every format and on every card, as one value."""

from insource.nouns import Noun, Shape
from insource.price.cards import cards
from insource.price.sizing import ASSUMED, FORMATS, Load, Memory, Speed, memory, speed, tuning


class Held(Noun, frozen=True, kw_only=True):
    """A format: the bytes it needs, and by card how fast it can be there; a card that cannot hold it is left out."""

    memory: Memory
    total: float
    cards: dict[str, Speed]


class Plan(Noun, frozen=True, kw_only=True):
    """`formats` by name; `tuning` bytes to train an adapter, by the format of the base; what was `assumed`."""

    load: Load
    formats: dict[str, Held]
    tuning: dict[str, float]
    assumed: tuple[str, ...] = ASSUMED


def plan(shape: Shape, load: Load) -> Plan:
    """Everything that can be said of the model under the load."""
    held = {}
    for name, form in FORMATS.items():
        need = memory(shape, form, load)
        speeds = {card: speed(shape, form, load, about) for card, about in cards().items()}
        held[name] = Held(
            memory=need, total=need.total, cards={card: found for card, found in speeds.items() if found is not None}
        )
    return Plan(load=load, formats=held, tuning={name: tuning(shape, FORMATS[name]).total for name in ("bf16", "nf4")})
