"""The keys, in memory: no call waits for the database to learn who it is."""

import asyncio
import math
import time
from collections.abc import Callable

from insource.errors import Unauthorized
from insource.journeys.keys import moment
from insource.nouns import ANYBODY, Key, digest, key_id
from insource.store import Store

LOOK_S = 0.5  # how often a gateway looks by itself
APART_S = 0.1  # how far apart looks are that callers cause
NOBODY = Key(id="", name="", digest="0" * 64)


def no_key() -> Unauthorized:
    """The same words whatever was wrong."""
    return Unauthorized("there is no valid API key with this call", hint="send it as Authorization: Bearer KEY")


class Keyring:
    """Says whose key a text is. `look` takes in what was made or revoked since; until the first one nobody is let in.

    Keys are asked for when `network` says that others than this machine can call, or when there ever was a key: that
    the last one was revoked opens nothing.
    """

    def __init__(self, store: Store, *, network: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._network, self._clock = store, network, clock
        self._keys: dict[str, Key] = {}
        self._texts: dict[str, Key] = {}  # by the digest of their text, which is all that is known of it
        self._number = 0
        self._looked = -math.inf
        self._looking = asyncio.Lock()

    @property
    def open(self) -> bool:
        """True while nobody is asked for a key."""
        return not self._network and not self._keys and self._looked > -math.inf

    @property
    def tenants(self) -> set[str]:
        """Whose keys there are; without any, calls are of the tenant that is nobody's in particular."""
        return {key.tenant for key in (ANYBODY, *self._keys.values())}

    async def look(self) -> None:
        """Takes in what changed. Raises `StoreError`."""
        began = self._clock()
        changed, self._number = await self._store.keys(self._number)
        self._keys |= {key.id: key for key in changed}
        self._texts |= {key.digest: key for key in changed}
        self._looked = began

    def known(self, text: str) -> Key | None:
        """The key that `text` is, where it is a valid one that was seen already."""
        known = self._texts.get(digest(text.encode())) if text else None
        return known if known is not None and known.state(moment() if known.expires else "") == "active" else None

    async def holder(self, text: str) -> Key:
        """The key that `text` is. Raises `Unauthorized`, in the same words whatever was wrong with it."""
        known = self.known(text)
        if known is not None:
            return known
        name = key_id(text)
        if name is not None and name not in self._keys:
            await self._look_again()
        if self.open:
            return ANYBODY
        key = self._keys.get(name or "", NOBODY)
        if not key.opened_by(text) or key.state(moment()) != "active":
            raise no_key()
        return key

    def still(self, id: str) -> Key | None:
        """The key called `id`, None where it does not hold, or not any more."""
        key = self._keys.get(id)
        return key if key is not None and key.state(moment()) == "active" else None

    def named(self, name: str) -> Key:
        """The newest key for `name`, whom a certificate vouches for. Raises `Unauthorized` when none is active."""
        if self.open:
            return ANYBODY
        now = moment()
        active = [key for key in self._keys.values() if key.name == name and key.state(now) == "active"]
        if not active:
            raise no_key()
        return active[-1]

    async def _look_again(self) -> None:
        """Waits for a look later than now: the key may be new. Whoever guesses shares it with all who do."""
        came = self._clock()
        async with self._looking:
            if self._looked <= came:
                await asyncio.sleep(self._looked + APART_S - came)
                await self.look()
