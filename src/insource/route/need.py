"""What a call may take, of whom, and what stands in its way."""

from collections.abc import Sequence

from insource.nouns import Limits, Noun, Request, canonical
from insource.nouns.request import text_of

ANSWER_TOKENS = 1024  # what an answer is reckoned with where the call names no max_tokens
MESSAGE_TOKENS, PART_TOKENS = 16, 2048  # a message's frame; an image or another part that is no text
NO_CALLS = 2


class Account(Noun, frozen=True, kw_only=True):
    """Who uses, and how much of it is allowed."""

    name: str
    limits: Limits


class Need(Noun, frozen=True, kw_only=True):
    """What a call takes, at most before it and in truth after it."""

    tokens: int = 0
    usd: float = 0.0


class Refusal(Noun, frozen=True, kw_only=True):
    """Which limit of which account stands in the way. In `retry_s` seconds it may not; None where it always will."""

    account: str
    limit: str
    retry_s: int | None


def need(request: Request, prices: Sequence[tuple[float, float]]) -> Need:
    """What the call may take of engines with these prices, all of which may be asked: US dollars per million tokens.

    A token is a byte at least. An answer has `max_tokens`, else `ANSWER_TOKENS`.
    """
    into = 0
    for message in request.messages:
        content, calls = message.content, message.tool_calls
        into += MESSAGE_TOKENS + (len(content.encode()) if isinstance(content, str) else _parts_tokens(content))
        into += len(canonical(calls)) if calls else NO_CALLS
    for given in (request.tools, request.response_format):
        if given:
            into += len(canonical(given))
    out = request.max_tokens or ANSWER_TOKENS
    usd = 0.0
    for price_in, price_out in prices:
        usd += into * price_in + out * price_out
    return Need(tokens=(into + out) * len(prices), usd=usd / 1_000_000)


def _parts_tokens(content: object) -> int:
    parts = content if isinstance(content, list) else []
    others = sum(1 for part in parts if not (isinstance(part, dict) and "text" in part))
    return len(text_of(content).encode()) + others * PART_TOKENS
