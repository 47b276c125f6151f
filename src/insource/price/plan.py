"""A model under a load, in every format and on every card, as one value."""

from insource.nouns import Noun, Shape
from insource.price.cards import Card, cards
from insource.price.queueing import Lanes, Queue, replicas_for
from insource.price.sizing import ASSUMED, FORMATS, Load, Memory, Speed, memory, speed, tuning


class Held(Noun, frozen=True, kw_only=True):
    """A format: the bytes it needs, and by card how fast it can be there; a card that cannot hold it is left out."""

    memory: Memory
    total: float
    cards: dict[str, Speed]


class Needed(Noun, frozen=True, kw_only=True):
    """What a rate of calls needs of one kind of card: so many replicas of `each` cards, None where none would do."""

    each: int
    queue: Queue | None


class Plan(Noun, frozen=True, kw_only=True):
    """`formats` by name; `tuning` bytes to train an adapter, by the format of the base; what was `assumed`.

    `beside` are cards that are not in the table.
    """

    load: Load
    formats: dict[str, Held]
    tuning: dict[str, float]
    assumed: tuple[str, ...] = ASSUMED
    beside: dict[str, Card] = {}

    @property
    def known(self) -> dict[str, Card]:
        """Every card that was looked at."""
        return cards() | self.beside


def needed(plan: Plan, form: str, rate: float, target_ms: float) -> dict[str, Needed]:
    """By card what `rate` calls a second need in that format, 95% of them within `target_ms`.

    A replica works on as many texts at once as the load says; their times vary as exponential ones do.
    """
    texts = plan.load.concurrent
    found = {}
    for card, fast in plan.formats[form].cards.items():
        lanes = Lanes(mean_s=texts / fast.requests_s, lanes=texts)
        found[card] = Needed(each=fast.cards, queue=replicas_for(lanes, rate, target_ms))
    return found


def plan(shape: Shape, load: Load, beside: dict[str, Card] | None = None) -> Plan:
    """Everything that can be said of the model under the load, on every card of the table and those `beside`."""
    held = {}
    known = cards() | (beside or {})
    for name, form in FORMATS.items():
        need = memory(shape, form, load)
        speeds = {card: speed(shape, form, load, about) for card, about in known.items()}
        held[name] = Held(
            memory=need, total=need.total, cards={card: found for card, found in speeds.items() if found is not None}
        )
    adapters = {name: tuning(shape, FORMATS[name]).total for name in ("bf16", "nf4")}
    return Plan(load=load, formats=held, tuning=adapters, beside=beside or {})
