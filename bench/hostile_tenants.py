"""One tenant's key against another's things: models, records, limits, names; and what is on record of it all.

A crossing is an answer to tenant A that holds anything of tenant B, or a call that was put down to B. Beside it two
controls that must cross: a key for all models, and a gateway whose scopes are not looked at.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from hostile_place import ROUTES, Place, good, made, served, session, upstream
from insource.journeys.audit import usage
from insource.nouns import Key, Limits
from insource.settings import load_settings
from insource.stats import clopper_pearson_upper
from insource.store import Store

TENANTS, DRAWN, AT_ONCE = 40, 4, 16
SCRIPT = '{"match": "*", "text": "the words of {name}"}\n'
ENGINE = '[engines.{name}]\nkind = "scripted"\nscript = "{name}.jsonl"\nmodel = "{name}-large"\nregion = "premises"\n'
UNSCOPED = """
import sys
import insource.serve.app, insource.serve.desk
insource.serve.app.may_call = insource.serve.desk.may_call = lambda key, names: True
from insource.cli.main import main
main()
"""


class Tenant(NamedTuple):
    """A tenant: the engine it alone may call, its key, and the record of a call it made."""

    name: str
    engine: str
    key: str
    record: str = ""

    @property
    def caller(self) -> str:
        """Whom its key stands for."""
        return f"caller-{self.name}"

    @property
    def marks(self) -> tuple[bytes, ...]:
        """What no other tenant may see."""
        return tuple(word.encode() for word in (self.name, self.engine, self.caller, self.record) if word)


@dataclass
class Crossed:
    """What was tried, by kind, and where something came across."""

    pairs: int = 0
    calls: int = 0
    tried: Counter[str] = field(default_factory=Counter)
    crossed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)


class Met(NamedTuple):
    """An answer."""

    status: int
    body: bytes

    def holds(self, other: Tenant, asked: bytes = b"") -> bool:
        """Whether it tells of the other what the question itself did not."""
        return any(mark in self.body for mark in other.marks if mark not in asked)


class Pair(NamedTuple):
    """Tenant `a`, whose key calls, and tenant `b`, whose things it is after."""

    http: aiohttp.ClientSession
    url: str
    a: Tenant
    b: Tenant

    async def met(self, method: str, path: str, body: Any = None, **headers: str) -> Met:
        """One call with the key of `a`, unless the headers say otherwise."""
        given = {"Authorization": f"Bearer {self.a.key}"} | {name.replace("_", "-"): v for name, v in headers.items()}
        async with self.http.request(method, self.url + path, json=body, headers=given) as answer:
            said = await answer.read()
            told = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
            return Met(answer.status, said + told.encode())


Tried = tuple[bool, bool]  # whether something came across, and whether the answer was another than it should be


def _refused(met: Met, pair: Pair, status: tuple[int, ...], asked: str = "") -> Tried:
    return met.status < 400 or met.holds(pair.b, asked.encode()), met.status not in status


async def _model(pair: Pair, model: str, route: int, **more: Any) -> Tried:
    met = await pair.met("POST", ROUTES[route], good(model, route) | more)
    return _refused(met, pair, (403,), model)


async def call_model(pair: Pair) -> Tried:
    """The other's engine, by its name."""
    return await _model(pair, pair.b.engine, 0)


async def call_behind(pair: Pair) -> Tried:
    """The other's engine, by the name of the model behind it, streamed."""
    return await _model(pair, f"{pair.b.engine}-large", 0, stream=True)


async def complete(pair: Pair) -> Tried:
    """The other's engine, by the older API."""
    return await _model(pair, pair.b.engine, 1)


async def embed(pair: Pair) -> Tried:
    """The other's engine, for vectors."""
    return await _model(pair, pair.b.engine, 2)


async def pinned(pair: Pair) -> Tried:
    """The other's engine as if it were a release of a task."""
    return await _model(pair, f"{pair.b.engine}@1.0.0", 0)


async def models(pair: Pair) -> Tried:
    """The list of models: the other's are not in it, one's own are."""
    met = await pair.met("GET", "/v1/models")
    return met.holds(pair.b), met.status != 200 or pair.a.engine.encode() not in met.body


async def model(pair: Pair) -> Tried:
    """The other's engine, looked up by its name."""
    return _refused(await pair.met("GET", f"/v1/models/{pair.b.engine}"), pair, (404,), pair.b.engine)


async def record(pair: Pair) -> Tried:
    """The other's record, at every address where a client may look for one."""
    found = (False, False)
    for path in ("/v1/chat/completions/", "/v1/records/", "/v1/responses/", "/v1/feedback/", "/v1/models/"):
        met = await pair.met("GET", path + pair.b.record)
        one = _refused(met, pair, (404, 405), pair.b.record)
        found = found[0] or one[0], found[1] or one[1]
    return found


async def metrics(pair: Pair) -> Tried:
    """The numbers of the whole gateway."""
    return _refused(await pair.met("GET", "/metrics"), pair, (403,))


async def mixed_key(pair: Pair) -> Tried:
    """The name of the other's key with one's own secret, and the other way round."""
    mine, theirs = pair.a.key.split("_"), pair.b.key.split("_")
    found = (False, False)
    for name, secret in ((theirs[1], mine[2]), (mine[1], theirs[2])):
        met = await pair.met("GET", "/v1/models", Authorization=f"Bearer insource_{name}_{secret}")
        one = _refused(met, pair, (401,))
        found = found[0] or one[0], found[1] or one[1]
    return found


async def claimed(pair: Pair) -> Tried:
    """A call that says in its headers and in its body that it is the other's; who it is put down to shows the audit."""
    body = good(pair.a.engine) | {"user": pair.b.caller, "tenant": pair.b.name, "metadata": {"tenant": pair.b.name}}
    met = await pair.met("POST", ROUTES[0], body, X_Tenant=pair.b.name, OpenAI_Organization=pair.b.name,
                         X_Request_Id=pair.b.record, X_Insource_Record=pair.b.record)  # fmt: skip
    return met.holds(pair.b), met.status != 200


async def same_words(pair: Pair) -> Tried:
    """The words that the other said: the answer is one's own engine's."""
    met = await pair.met("POST", ROUTES[0], good(pair.a.engine, 0, "the same words"))
    return met.holds(pair.b), met.status != 200 or f"the words of {pair.a.engine}".encode() not in met.body


async def limits(pair: Pair) -> Tried:
    """The other's limits: what it used up is not told, and does not count here."""
    await pair.met("POST", ROUTES[0], good(pair.b.engine), Authorization=f"Bearer {pair.b.key}")
    met = await pair.met("POST", ROUTES[0], good(pair.a.engine))
    return met.holds(pair.b), met.status != 200


Way = Callable[[Pair], Awaitable[Tried]]
WAYS: tuple[Way, ...] = (call_model, call_behind, complete, embed, pinned, models, model, record, metrics, mixed_key,
                         claimed, same_words, limits)  # fmt: skip


async def pairs(place: Place, tenants: list[Tenant], count: int, seed: int) -> Crossed:
    """So many random pairs, with some of the ways drawn for each."""
    found, dice, gate = Crossed(), random.Random(seed), asyncio.Semaphore(AT_ONCE)  # noqa: S311 - no secret

    async def one(a: Tenant, b: Tenant, ways: list[Way]) -> None:
        async with gate:
            for way in ways:
                crossed, wrong = await way(Pair(http, place.url, a, b))
                found.tried[way.__name__] += 1
                found.crossed[way.__name__] += crossed
                found.wrong[way.__name__] += wrong

    async with session(place, keyed=False) as http:
        drawn = [(*dice.sample(tenants, 2), dice.sample(WAYS, DRAWN)) for _ in range(count)]
        await asyncio.gather(*(one(a, b, ways) for a, b, ways in drawn))
    found.pairs, found.calls = count, found.tried.total()
    return found


async def with_records(place: Place, tenants: list[Tenant]) -> list[Tenant]:
    """The tenants, each with the record of a call that it made of the same words."""
    async with session(place, keyed=False) as http:
        found = []
        for tenant in tenants:
            headers = {"Authorization": f"Bearer {tenant.key}"}
            body = good(tenant.engine, 0, "the same words")
            async with http.post(place.url + ROUTES[0], json=body, headers=headers) as answer:
                found.append(tenant._replace(record=answer.headers["x-insource-record"]))
        return found


async def on_record(root: Path, tenants: list[Tenant]) -> dict[str, int]:
    """What the store says: records under another's name, hashes that two tenants share, sums that differ."""
    async with await Store.open(load_settings(root)) as store:
        records = await store.records(limit=10**7)
        sums = {one.name: one.calls for one in await usage(store, by="tenant")}
    owner = {tenant.caller: tenant.name for tenant in tenants}
    misplaced = sum(owner.get(one.caller, one.tenant) != one.tenant for one in records)
    under: dict[str, set[str]] = {}
    for one in records:
        under.setdefault(one.input_hash, set()).add(one.tenant)
    counted = Counter(one.tenant for one in records)
    return {
        "records": len(records),
        "misplaced": misplaced,
        "hashes_shared": sum(len(names) > 1 for names in under.values()),
        "sums_that_differ": sum(counted[name] != calls for name, calls in sums.items()),
    }


async def tenants(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """The pairs on a gateway as it is, then the two controls with a tenth of them."""
    root, dice = folder / "tenants", random.Random(seed)  # noqa: S311 - no secret
    names = [f"tenant-{dice.randrange(16**8):08x}" for _ in range(TENANTS)]
    engines = [f"engine-{dice.randrange(16**8):08x}" for _ in range(TENANTS)]
    wanted = [Key(id="", name=f"caller-{name}", tenant=name, scopes=(engine,), limits=Limits(requests_per_minute=10**6))
              for name, engine in zip(names, engines, strict=True)]  # fmt: skip
    master = [Key(id="", name=f"caller-{name}-all", tenant=name) for name in names]
    async with upstream() as far:
        texts = await made(root, far, "".join(ENGINE.format(name=one) for one in engines), (*wanted, *master))
        for one in engines:
            (root / f"{one}.jsonl").write_text(SCRIPT.replace("{name}", one), "utf-8")
        own = [Tenant(*of) for of in zip(names, engines, texts[1:], strict=False)]
        async with served(root, texts[0]) as place:
            known = await with_records(place, own)
            found = await pairs(place, known, count, seed)
            every = [tenant._replace(key=key) for tenant, key in zip(known, texts[1 + TENANTS :], strict=True)]
            wide = await pairs(place, every, max(20, count // 10), seed)
            alive = await place.lives()
        kept = await on_record(root, known)
        unscoped = folder / "unscoped.py"
        unscoped.write_text(UNSCOPED, "utf-8")
        async with served(root, texts[0], (str(unscoped),)) as place:
            blind = await pairs(place, known, max(20, count // 10), seed)
    crossed = found.crossed.total()
    return {
        "pairs": found.pairs,
        "tries": found.calls,
        "tried": dict(found.tried),
        "crossed": crossed,
        "crossed_upper95": clopper_pearson_upper(crossed, found.pairs),
        "answered_otherwise": {name: n for name, n in found.wrong.items() if n},
        "on_record": kept,
        "alive": alive,
        "controls": {
            "a key for all": {"tries": wide.calls, "crossed": wide.crossed.total()},
            "no look at scopes": {"tries": blind.calls, "crossed": blind.crossed.total()},
        },
    }
