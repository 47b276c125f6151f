"""What calls cost and took, as it is asked for."""

from insource.nouns import Noun


class Spent(Noun, frozen=True, kw_only=True):
    """US dollars spent on a day of UTC (YYYY-MM-DD) by a tenant and the caller its keys name."""

    day: str
    tenant: str
    caller: str
    usd: float


class Used(Noun, frozen=True, kw_only=True):
    """One call just made: when (UTC), by whom, and the tokens it took, in and out."""

    created: str
    tenant: str
    caller: str
    tokens: int
