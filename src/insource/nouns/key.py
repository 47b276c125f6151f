"""Who may call, for what, and how much. A key's text is shown once; what is kept of it is a digest."""

import hmac
import re
import string
import zlib
from typing import Annotated, Literal, get_args

from msgspec import Meta

from insource.nouns.base import Noun, digest

Role = Literal["caller", "reviewer", "operator", "admin"]
State = Literal["active", "expired", "revoked"]
Count = Annotated[int, Meta(ge=1, le=10**12)]
Usd = Annotated[float, Meta(gt=0, le=1e9)]

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_BYTES, SECRET_DIGITS, CHECK_DIGITS = 32, 43, 6  # 62 to the 43 is just above 2 to the 256
FORM = re.compile(rf"insource_([0-9A-Za-z]{{8}})_[0-9A-Za-z]{{{SECRET_DIGITS + CHECK_DIGITS}}}")


LIMIT_WORDS = {
    "requests_per_minute": "{:,} requests a minute",
    "tokens_per_minute": "{:,} tokens a minute",
    "concurrent": "{:,} calls at once",
    "usd_per_day": "{:g} USD a day",
    "usd_per_month": "{:g} USD a month",
}


class Limits(Noun, frozen=True, kw_only=True):
    """How much may be used; None is no limit. Minutes are any 60 seconds, days and months those of UTC.

    `concurrent` calls are answered at once. Tokens are those in and out, of every engine that was asked.
    """

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent: Count | None = None
    usd_per_day: Usd | None = None
    usd_per_month: Usd | None = None


class Key(Noun, frozen=True, kw_only=True):
    """An API key. `name` is whom it stands for; a key that replaces another has its name, and shares its limits.

    `scopes` are the tasks, releases and engines that it may call, empty for all. `tenant` is who pays; tenants see
    nothing of each other. `expires` and `revoked` are times of UTC, empty for never. `digest` is the text's SHA-256.
    """

    id: str
    name: str
    tenant: str = "local"
    roles: tuple[Role, ...] = ("caller",)
    scopes: tuple[str, ...] = ()
    limits: Limits = Limits()
    digest: str = ""
    created: str = ""
    expires: str = ""
    revoked: str = ""

    def state(self, now: str) -> State:
        """What the key is at the time `now`, in the form of `expires`."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and self.expires <= now else "active"

    def opened_by(self, text: str) -> bool:
        """Whether this is the key's text; how long that takes says nothing of where they differ."""
        return hmac.compare_digest(self.digest, digest(text.encode()))


ANYBODY = Key(id="", name="", roles=get_args(Role))  # who calls while no key is asked for


def key_text(id: str, secret: bytes) -> str:
    """The text of the key `id`: `insource_ID_` and 49 letters and digits, the last 6 a checksum of all before."""
    body = f"insource_{id}_{_spelled(int.from_bytes(secret, 'big'), SECRET_DIGITS)}"
    return body + _check(body)


def key_id(text: str) -> str | None:
    """The id in a key's text; None where the text is none, or was mistyped."""
    found = FORM.fullmatch(text)
    if found is None or _check(text[:-CHECK_DIGITS]) != text[-CHECK_DIGITS:]:
        return None
    return found[1]


def _check(body: str) -> str:
    return _spelled(zlib.crc32(body.encode()), CHECK_DIGITS)


def _spelled(number: int, digits: int) -> str:
    spelled = ""
    for _ in range(digits):
        number, digit = divmod(number, len(ALPHABET))
        spelled = ALPHABET[digit] + spelled
    return spelled
