"""Limits and budgets of keys and tenants, around every call."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from insource.errors import OverLimit
from insource.journeys.answer import Path
from insource.nouns import Key, Limits, Record, Request
from insource.nouns.key import LIMIT_WORDS
from insource.route.limits import WINDOW_S, Ledger
from insource.route.need import ANSWER_TOKENS, Account, Need, Refusal, need
from insource.store import Store
from insource.store.shares import Payer

METERED = ("tokens_per_minute", "usd_per_day", "usd_per_month")
NO_LIMITS = Limits()
WAIT_S = 1.5  # for a share of a limit of which others have some left


class Room(Protocol):
    """Where more of a limit comes from that is shared with other gateways."""

    def check(self) -> None:
        """Passes while what was given may be used. Raises `StoreError`."""
        ...

    async def more(self, refusal: Refusal, account: Account, payer: Payer, wanted: Need, until: float) -> bool:
        """Whether there is more of the limit that stood in the way now; waits for that until a time of the loop."""
        ...

    def written(self, record: Record) -> None:
        """Hears that the store has the record."""
        ...

    async def close(self) -> None:
        """Gives back what was not used."""
        ...


class Meter:
    """Lends each call what it may need and takes back what it did not; `tenants` are the limits of insource.toml."""

    def __init__(
        self,
        tenants: Mapping[str, Limits],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tenants, self._now = tenants, now
        self.ledger = Ledger(clock, now)
        self.room: Room | None = None  # None: nobody else uses these limits
        self._known: dict[str, _Payers] = {}

    async def remember(self, store: Store) -> None:
        """Takes over what the store knows of this month's money and of the last minute's calls. Raises `StoreError`."""
        now = datetime.fromtimestamp(self._now(), UTC)
        for spent in await store.spent(f"{now:%Y-%m}-01"):
            for name in account_names(spent.tenant, spent.caller):
                self.ledger.remember(name, spent.day, spent.usd)
        since = (now - timedelta(seconds=WINDOW_S + 1)).isoformat(timespec="milliseconds")
        for used in reversed(await store.used(since)):
            age = (now - datetime.fromisoformat(used.created)).total_seconds()
            for name in account_names(used.tenant, used.caller):
                self.ledger.remember_call(name, max(0.0, age), used.tokens)

    def hold(self, key: Key, request: Request, path: Path) -> "Held":
        """Reserves what the call may need until the block ends that this opens. Raises `OverLimit`.

        The block is given the request to make: under a limit of tokens or money an answer whose length nobody limited
        is limited to what was reserved for it.
        """
        payers = self._payers(key)
        request = _bounded(request, path, payers)
        wanted = need(request, path.prices)
        refusal = self.ledger.reserve(request.id, payers.accounts, wanted)
        if refusal is not None:
            raise _over(refusal, payers.accounts, wanted)
        return Held(self.ledger, request)

    async def take(self, key: Key, request: Request, path: Path) -> "Held":
        """As `hold`; where limits are shared, more of them is asked for before a call is refused.

        Raises `StoreError` too, where that was not possible for so long that nothing may be used here.
        """
        room = self.room
        if room is None:
            return self.hold(key, request, path)
        payers = self._payers(key)
        if payers.accounts:
            room.check()
        request = _bounded(request, path, payers)
        wanted = need(request, path.prices)
        refusal = self.ledger.reserve(request.id, payers.accounts, wanted)
        until = asyncio.get_running_loop().time() + WAIT_S
        while refusal is not None:
            at = [account.name for account in payers.accounts].index(refusal.account)
            more = await room.more(refusal, payers.accounts[at], payers.payers[at], wanted, until)
            room.check()
            if not more:
                raise _over(refusal, payers.accounts, wanted)
            refusal = self.ledger.reserve(request.id, payers.accounts, wanted)
        return Held(self.ledger, request)

    def written(self, record: Record) -> None:
        """The store has the record."""
        if self.room is not None:
            self.room.written(record)

    async def close(self) -> None:
        """Gives back what others may use. No call is under way any more."""
        if self.room is not None:
            await self.room.close()

    def settle(self, record: Record) -> None:
        """Counts what the call took in the place of what was reserved for it."""
        tokens = 0
        for attempt in record.attempts:
            if attempt.prediction is not None:
                usage = attempt.prediction.usage
                tokens += usage.input_tokens + usage.output_tokens
        names = account_names(record.tenant, record.caller)
        self.ledger.settle(record.id, names, Need(tokens=tokens, usd=record.usd))

    def _payers(self, key: Key) -> "_Payers":
        known = self._known.get(key.id)
        if known is None or known.key is not key:
            limits = (key.limits, self._tenants.get(key.tenant))  # a tenant without limits will never have any
            names = account_names(key.tenant, key.name)
            payers = Payer(key.tenant, key.name), Payer(key.tenant, None)
            both = [
                (name, limit, of) for name, limit, of in zip(names, limits, payers, strict=True) if limit is not None
            ]
            if self.room is not None:
                both = [(name, limit, of) for name, limit, of in both if limit != NO_LIMITS]
            accounts = tuple(Account(name=name, limits=limit) for name, limit, _ in both)
            metered = any(_metered(account.limits) for account in accounts)
            known = self._known[key.id] = _Payers(key, accounts, tuple(of for _, _, of in both), metered)
        return known


class _Payers(NamedTuple):
    """The accounts of a key, whose each is, and whether one of them has a limit of tokens or money."""

    key: Key
    accounts: tuple[Account, ...]
    payers: tuple[Payer, ...]
    metered: bool


class Held:
    """What a call holds, until the block ends."""

    __slots__ = ("_ledger", "_request")

    def __init__(self, ledger: Ledger, request: Request) -> None:
        self._ledger, self._request = ledger, request

    def __enter__(self) -> Request:
        return self._request

    def __exit__(self, *_: object) -> None:
        self._ledger.release(self._request.id)


def account_names(tenant: str, caller: str) -> tuple[str, str]:
    """The accounts of a call: a caller within its tenant, and the tenant."""
    return f"{caller} of {tenant}", f"tenant {tenant}"


def _bounded(request: Request, path: Path, payers: _Payers) -> Request:
    """The request; under a limit of tokens or money an answer whose length nobody limited has one."""
    if request.max_tokens is None and path.task is None and payers.metered:
        return msgspec.structs.replace(request, max_tokens=ANSWER_TOKENS)
    return request


def _metered(limits: Limits) -> bool:
    return any(getattr(limits, limit) is not None for limit in METERED)


def _over(refusal: Refusal, accounts: tuple[Account, ...], wanted: Need) -> OverLimit:
    limits = next(account.limits for account in accounts if account.name == refusal.account)
    allowed = LIMIT_WORDS[refusal.limit].format(getattr(limits, refusal.limit))
    if refusal.retry_s is None:
        takes = f"{wanted.tokens:,} tokens, {wanted.usd:.4f} USD"
        said = f"the call may take {takes}: {refusal.account} has {allowed}"
        return OverLimit(said, hint="send less, or name a smaller max_tokens", retry_s=None)
    words = f"{refusal.account} has {allowed}, and what is left is not enough for this call"
    return OverLimit(words, hint=f"call again in {refusal.retry_s} s", retry_s=refusal.retry_s)
