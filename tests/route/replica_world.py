"""Gateways that share limits, with a clock that jumps, answers that are lost and processes that die: all of it told."""

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from sqlalchemy import create_engine, delete
from sqlalchemy.pool import StaticPool

from insource.errors import StoreError
from insource.nouns import Limits, Record
from insource.route.limits import Ledger
from insource.route.need import Account, Need
from insource.serve.meter import account_names
from insource.serve.sharing import Sharing
from insource.settings import ServeSettings, Settings
from insource.store import shares
from insource.store.bulk import driver
from insource.store.spending import spend
from insource.store.tables import METADATA, OPEN_CALL

START = datetime(2026, 11, 29, 23, 50, tzinfo=UTC)
LEASE_S = 120.0
NAME = account_names("plant", "desk")[0]
PLAIN = Record(
    id="", task=None, release=None, tenant="plant", caller="desk", attempts=(), outcome="answered", input_hash="h",
    latency_ms=1.0,
)  # fmt: skip


@dataclass
class Call:
    """One call that was admitted; `charged` is what it took, or may take."""

    at: float
    replica: "Gateway"
    tokens: int
    usd: float
    day: str
    charged: float
    ended: bool = False


class Gateway:
    """One process: its own clocks, its own ledger, and the store at the other end of a line that may be cut."""

    def __init__(self, world: "World", number: int) -> None:
        name = f"elsewhere boot {number} 1"
        self.world, self.name, self.ahead_s, self.lost = world, name, 0.0, ""
        offset = number * 1234.5
        self.clock = lambda: world.t + offset
        self.ledger = Ledger(self.clock, self.now)
        settings = Settings(root=Path("/none"), cache=Path("/none"), serve=ServeSettings(lease_s=LEASE_S))
        self.shares = self
        self.sharing = Sharing(settings, self, self.ledger, clock=self.clock, process=name)
        if not world.shared:
            self.ledger.shares = None

    def now(self) -> float:
        return (START + timedelta(seconds=self.world.t + self.ahead_s)).timestamp()

    async def look(self, process):
        return self.world.run(lambda c: (shares.replicas(c), shares.short(c, process)), self.lost == "before")

    async def of(self, process):
        return self.world.run(lambda c: (shares._of(c, process), shares._calls(c, process)), lost=False)

    async def trim(self, process, stakes):
        self.world.run(lambda c: shares._put(c, process, stakes), lost=False)

    async def leave(self, process, stakes, *, hold):
        self.world.run(lambda c: shares.leave(c, process, stakes, hold=hold), lost=False)

    async def used(self, since):
        return []

    async def turn(self, turn, divide):
        found = self.world.run(lambda c: shares.take_turn(c, turn, divide), lost=False)
        if self.lost:
            raise StoreError("the answer was lost")
        return found


@dataclass
class World:
    limits: Limits
    shared: bool = True
    t: float = 0.0
    gateways: list[Gateway] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    refused: int = 0
    started: int = 0

    def __post_init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        engine = create_engine("sqlite+pysqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        METADATA.create_all(engine)
        self.engine = engine

    def run(self, work, lost: bool):
        if lost:
            raise StoreError("cut off")
        with self.engine.begin() as connection:
            return work(connection)

    def start(self) -> Gateway:
        self.started += 1  # no two processes have ever one name, not even one after the other
        made = Gateway(self, self.started)
        self.gateways.append(made)
        if self.shared:
            self.loop.run_until_complete(made.sharing.begin())
        return made

    def call(self, gateway: Gateway, tokens: int, usd: float) -> Call | None:
        """One call: against the share, and once more after asking the store where there was no room."""
        account, name = Account(name=NAME, limits=self.limits), f"c{len(self.calls) + self.refused}"
        wanted = Need(tokens=tokens, usd=usd)
        for _ in range(2 if self.shared else 1):
            try:
                if self.shared:
                    gateway.sharing.check()
            except StoreError:
                break
            refusal = gateway.ledger.reserve(name, [account], wanted)
            if refusal is None:
                now = (START + timedelta(seconds=self.t + gateway.ahead_s)).isoformat()
                made = Call(self.t, gateway, tokens, usd, now[:10], usd)
                made.id, made.created = name, now
                self.calls.append(made)
                row = {"id": name, "until": "2999", "process": gateway.name, "body": "{}"}
                self.run(partial(_note, row), lost=False)
                return made
            self.ask(gateway, account, refusal, wanted)
        self.refused += 1
        return None

    def ask(self, gateway, account, refusal, wanted) -> None:
        if not self.shared:
            return

        async def asked():
            turn = asyncio.create_task(
                gateway.sharing.more(refusal, account, shares.Payer("plant", "desk"), wanted, self.loop.time() + 0.0)
            )
            await asyncio.sleep(0)
            await self._turn(gateway)
            turn.cancel()

        self.loop.run_until_complete(asked())

    def turn(self, gateway: Gateway) -> None:
        if self.shared:
            self.loop.run_until_complete(self._turn(gateway))

    async def _turn(self, gateway) -> None:
        with suppress(StoreError):
            await gateway.sharing._turn()

    def end(self, call: Call, share: float, written: bool) -> None:
        """It ends, having taken a share of the most that it might; its record is written, or that fails."""
        used = Need(tokens=int(call.tokens * share), usd=call.usd * share)
        call.replica.ledger.settle(call.id, (NAME,), used)
        call.replica.ledger.release(call.id)
        call.ended, call.tokens = True, used.tokens
        if not written:
            return  # it stays open in the store, and will be charged the most that it may have cost
        call.charged = used.usd
        self.bill(call, used.usd)
        if self.shared:
            call.replica.sharing.written(self.record(call, used.usd))

    def record(self, call: Call, usd: float) -> Record:
        return msgspec.structs.replace(PLAIN, id=call.id, created=call.created, usd=usd)

    def bill(self, call: Call, usd: float) -> None:
        def write(connection):
            connection.execute(delete(OPEN_CALL).where(OPEN_CALL.c.id == call.id))
            spend(driver(connection), [self.record(call, usd)])

        self.run(write, lost=False)

    def crash(self, gateway: Gateway) -> None:
        self.gateways.remove(gateway)
        for call in self.calls:
            if call.replica is gateway:
                call.ended = True

    def interrupt(self) -> None:
        """Calls of which nobody will say how they ended are charged the most they may have cost."""
        with self.engine.begin() as connection:
            left = {row.id for row in connection.execute(OPEN_CALL.select())}
        for call in self.calls:
            if call.ended and call.id in left:
                self.bill(call, call.usd)

    def above(self) -> list[str]:
        """The limits that what was admitted is above."""
        recent = [call for call in self.calls if call.at > self.t - 60]
        money = defaultdict(float)
        for call in self.calls:
            money[call.day] += call.charged
        found = {
            "requests_per_minute": len(recent),
            "tokens_per_minute": sum(call.tokens for call in recent),
            "concurrent": sum(not call.ended for call in self.calls),
            "usd_per_day": max(money.values(), default=0.0),
        }
        return [what for what, used in found.items() if used > (getattr(self.limits, what) or 1e18)]

    def close(self) -> None:
        self.loop.close()
        self.engine.dispose()


def _note(row, connection):
    connection.execute(OPEN_CALL.insert().values(**row))
