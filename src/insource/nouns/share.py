"""What gateways that share one store say to each other of the limits of keys and tenants."""

from insource.nouns.base import Noun


class Part(Noun, frozen=True, kw_only=True):
    """A gateway's part of one limit: calls, tokens, or billionths of a US dollar.

    It may use `share`. When it said so it had used `used` of it, had use for `want`, and the largest call that found no
    room takes `least`. Money counts within `period`, a day or a month, from the gateway's start on; `durable` of what
    was used stands in the sums of the store.
    """

    share: int = 0
    used: int = 0
    want: int = 0
    least: int = 0
    period: str = ""
    durable: int = 0

    @property
    def short(self) -> bool:
        """Whether it has use for more than it may use."""
        return self.want > self.share


class Stake(Noun, frozen=True, kw_only=True):
    """A gateway's parts of the limits of one account, by limit. It is short of one `since` a time (s since 1970)."""

    parts: dict[str, Part] = {}
    since: float = 0.0

    @property
    def short(self) -> bool:
        """Whether it is short of any."""
        return any(part.short for part in self.parts.values())


class Replica(Noun, frozen=True, kw_only=True):
    """A gateway that shares limits. It is heard of again, with another `beat`, within `lease_s` seconds, or is over.

    `duty`: it does what one alone should do.
    """

    process: str
    beat: int
    lease_s: float
    duty: bool = False
