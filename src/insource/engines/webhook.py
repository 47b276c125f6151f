"""A message to an address of the owner's: by the way out that every connection takes, and to that host alone."""

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp

from insource.engines.outward import Outward
from insource.engines.outward_aiohttp import destination_of, session
from insource.errors import EngineDown, EngineError, Invalid, Outside
from insource.settings import secret

PATIENCE_S = 10.0
PAUSES_S = (1.0, 4.0)  # between three tries
PASSING = (408, 425, 429)


async def post(
    url: str, body: bytes, headers: Mapping[str, str], outward: Outward, *, pauses_s: Sequence[float] = PAUSES_S
) -> None:
    """Sends JSON to `url` and returns once it was taken: it may so arrive more than once, and never goes unseen.

    What may pass is tried again after each pause. No redirect is followed. Raises `EngineDown` when nobody takes it,
    `EngineError` when it is refused, `Outside` for an address that may not be called.
    """
    for pause in (*pauses_s, None):
        try:
            await _once(url, body, headers, outward)
        except EngineDown:
            if pause is None:
                raise
            await asyncio.sleep(pause)
        else:
            return


async def _once(url: str, body: bytes, headers: Mapping[str, str], outward: Outward) -> None:
    sent = {"content-type": "application/json", "user-agent": "insource", **headers}
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    place = destination_of(url)
    try:
        async with (
            session(outward, url, timeout=timeout) as line,
            line.post(url, data=body, headers=sent, allow_redirects=False) as answer,
        ):
            status = answer.status
    except Outside:
        raise
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        # its words may hold the address, and with it a secret of the path
        raise EngineDown(f"{place} takes no message ({type(error).__name__})") from error
    outward.sent(place, len(body))
    if status >= 500 or status in PASSING:
        raise EngineDown(f"{place} takes no message: status {status}")
    if status >= 300:
        odd = "it sends on to another place, which is not called" if status < 400 else "it refuses the message"
        raise EngineError(f"{place}: status {status}: {odd}")


def secret_headers(variable: str, at: str) -> dict[str, str]:
    """The headers in the environment variable `variable`, "name=value,name=value"; none where it is empty.

    Raises `Invalid`, which names the variable and the setting `at` and never what is in it.
    """
    pairs = [pair.partition("=") for pair in secret(variable).split(",") if pair.strip()] if variable else []
    if not all(equals and name.strip() for name, equals, _ in pairs):
        raise Invalid(f"${variable} is not of the form name=value,name=value", at=at)
    return {name.strip(): value.strip() for name, _, value in pairs}
