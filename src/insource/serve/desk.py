"""Who is behind each model's name right now: the open paths, and how many calls are with them."""

import asyncio
import difflib
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

from insource.engines.shared_base import Bases
from insource.errors import Conflict, Denied, EngineBusy, InsourceError, Missing, StoreError
from insource.journeys.again import Answers
from insource.journeys.answer import Path
from insource.journeys.beside import Pair
from insource.journeys.serve import close_path, open_passthrough, open_path
from insource.journeys.terms import tightened
from insource.journeys.turnstiles import none_left, replicas, resting
from insource.nouns import Key, Pending, Record, Release, without_folders
from insource.route import AUTO
from insource.serve.auth import may_call
from insource.serve.auto import Auto
from insource.serve.chat_call import ChatCall
from insource.serve.coming import Coming
from insource.serve.meter import Meter
from insource.serve.outage import Outage
from insource.serve.seeing import Seeing
from insource.serve.trying import OnTrial, Trying
from insource.settings import Settings, load_rollout, task_names
from insource.store import Store


class Desk:
    """Lends paths to calls. A path that was replaced is closed when its last call has ended.

    `bases` are those that `paths` were opened with: what is opened later shares them.
    """

    def __init__(self, settings: Settings, store: Store, paths: dict[str, Path], *, bases: Bases | None = None) -> None:
        self.settings = settings
        self._bases = bases or Bases(settings.cache)
        self.store = store
        self.meter = Meter(settings.tenants)
        self._auto = Auto(settings)
        self._coming = Coming(settings, store)
        self.seeing = Seeing(settings)
        self.trying = Trying(store)
        self.outage = Outage(settings, store, self.meter.written) if settings.audit.spool else None
        self.answers = Answers(settings.answers)
        self._paths = {name: self._given(path) for name, path in paths.items()}
        self._tasks = task_names(settings)
        self._engines: dict[str, Path] = {}
        # by their tiers, which a path keeps when more confidence is demanded of it
        self._calls: Counter[int] = Counter()
        self._leaving: dict[int, Path] = {}
        self._standby: dict[str, Path] = {}  # what answered a task before, open for a way back
        self._opening = asyncio.Lock()
        self.in_flight = 0  # calls that are being answered

    async def keep(self, record: Record, pending: Pending | None) -> None:
        """Makes a record durable. What the call took is counted even where that fails."""
        self.meter.settle(record)
        began = time.perf_counter()
        try:
            if self.outage is None:
                await self.store.append(record, pending)
                self.meter.written(record)
            elif await self.outage.append(record, pending):
                self.meter.written(record)
        except StoreError:
            self.seeing.unwritten()
            raise
        self.seeing.kept(record, time.perf_counter() - began)

    def names(self, model: str) -> set[str]:
        """By which names a key's scopes may allow `model`: its own, its task's, and both of an engine."""
        engine = self._engine(model)
        return {model, engine, self.settings.engines[engine].model} if engine else {model, model.partition("@")[0]}

    def check(self, key: Key, model: str) -> None:
        """Raises `Denied` unless the key may call `model`, be there such a one or not."""
        if key.scopes and not may_call(key, self.names(model)):
            raise Denied(f"this key may not call {model!r}", hint="GET /v1/models lists what it may", at="model")

    async def name(self, call: ChatCall, key: Key) -> str:
        """Puts the task's name in the place of the model "auto", and says why in words; "" for any other model."""
        if call.model != AUTO or AUTO in task_names(self.settings):
            return ""
        tasks = [task for task in self._paths if "@" not in task]
        call.model, why = await self._auto.name(call, tasks, lambda model: may_call(key, self.names(model)))
        return why

    def passes_through(self, model: str) -> bool:
        """True when `model` names an engine and no task."""
        return self._known(model) is None and self._engine(model) is not None

    def lend(self, model: str, why: str = "") -> "_Lent":
        """The path of `model`, in a context, for one call that came to it because of `why`.

        It raises `EngineBusy` when too many calls wait, `Missing`, `Conflict`.
        """
        return _Lent(self, model, why)

    async def take(self, model: str) -> Path:
        """The path of `model`, which stays open until it is given back. Raises as `lend` does."""
        if self.in_flight >= self.settings.serve.queue:
            raise EngineBusy(f"{self.in_flight} calls are waiting, no more are taken", hint="try again in a second")
        path = self._at_hand(model) or await self._path(model)
        self._calls[id(path.tiers)] += 1
        self.in_flight += 1
        return path

    async def give(self, path: Path) -> None:
        """Gives back what was taken."""
        self.in_flight -= 1
        self._calls[id(path.tiers)] -= 1
        if not self._calls[id(path.tiers)]:
            del self._calls[id(path.tiers)]
            if self._leaving:
                await self._let_go(path)

    async def models(self) -> dict[str, str]:
        """Every name a call may use → who owns it: live tasks, their releases, engines and the models behind them."""
        names = dict.fromkeys(self._paths, "insource")
        away = self.outage is not None and self.outage.away  # then only what is loaded is known
        for task in [name for name in names if "@" not in name and not away]:
            names |= {r.name: "insource" for r in await self.store.releases(task) if r.stage != "candidate"}
        engines = [name for engine, of in self.settings.engines.items() for name in (engine, of.model)]
        names |= {AUTO: "insource"} if self._auto.here else {}
        return dict.fromkeys((name for name in engines if self._engine(name)), "engine") | names

    async def faults(self) -> list[str]:
        """Why calls could not be answered now: no store, a live release not loaded, every engine rests."""
        try:
            found = await self._not_loaded()
        except StoreError as error:
            return [without_folders(str(error))]
        alone = [task for task, path in self._paths.items() if none_left(path, self._bases.turnstiles)]
        return found + [f"every engine of {task} rests after failures" for task in alone]

    @property
    def resting(self) -> list[str]:
        """The servers that are not asked now, since they failed. Calls go to the next engine."""
        return resting(self._bases.turnstiles)

    async def follow(self) -> list[str]:
        """Opens what became live or is on trial, and lets go of what no longer is. Returns what could not be opened."""
        problems, asked = [], set[str]()
        self._tasks = await asyncio.to_thread(task_names, self.settings)
        for task in self._tasks:
            release, tried = await self.store.live(task), await self.store.on_trial(task)
            name = release.name if release else None
            asked |= {one.name for one in (release, tried) if one is not None}
            for wanted, step in ((name, self._go_live(task, release)), (tried and tried.name, self._try(task, tried))):
                try:
                    await step
                except InsourceError as error:
                    problems.append(f"{wanted}: {error}")
        self._coming.only(asked)
        for path in list(self._leaving.values()):
            await self._let_go(path)
        return problems

    async def _go_live(self, task: str, release: Release | None) -> None:
        """Has `release` answer the task. Raises what keeps it from being opened."""
        name = release.name if release else None
        if name == self._serves(task):
            if name:
                self._paths[task] = tightened(self._paths[task], await self.store.tightened(name))
            return
        standing_by = self._paths.get(name or "")
        if release is not None and standing_by is None:
            await self._coming.arrived(release)
        path = standing_by or (
            self._given(await open_path(name, self.settings, self.store, bases=self._bases)) if name else None
        )
        self._replace(task, path)

    async def _try(self, task: str, tried: Release | None) -> None:
        """Has the release tried beside the live one; None: none is. Raises what keeps it from being opened."""
        now, live = self.trying.of(task), self._paths.get(task)
        if now is not None and (tried is None or tried.name != now.release):
            self.trying.put(task, None)
            self._leave(now.release)
        if tried is None or live is None or tried.name == self._serves(task):
            self.trying.put(task, None)
        elif now is None or (now.release, now.share) != (tried.name, tried.share) or now.pair.live is not live:
            await self._coming.arrived(tried)
            policy = await asyncio.to_thread(load_rollout, self.settings, task)
            pair = Pair(await self._path(tried.name), live, policy)
            self.trying.put(task, OnTrial(tried.name, pair, tried.share))

    async def close(self) -> None:
        """Closes every engine."""
        await self._coming.close()
        held: tuple[dict[Any, Path], ...] = (self._paths, self._engines, self._leaving)
        paths = [path for group in held for path in group.values()]
        for group in held:
            group.clear()
        outage = () if self.outage is None else (self.outage.close,)
        steps = (*[partial(close_path, path) for path in paths], *outage, self.seeing.close, self.meter.close)
        # whatever one of them raises, the others close; typed it would be a tuple to the machine code, and it is a list
        together: Any = asyncio.gather
        said = [(await together(step(), return_exceptions=True))[0] for step in steps]
        for error in said:
            if isinstance(error, BaseException):
                raise error

    def servers(self) -> dict[str, bool]:
        """Server → whether it rests after failures; those that were asked for so far."""
        return {name: each.rests for name, each in self._bases.turnstiles.items()}

    def replicas(self) -> dict[tuple[str, str], tuple[bool, int]]:
        """Engine and replica → whether it rests, and its calls under way; of engines with several, asked so far."""
        return replicas(self._bases.turnstiles)

    def live(self) -> dict[str, str]:
        """Task → the release that answers it now."""
        return {task: name for task in self._paths if "@" not in task and (name := self._serves(task))}

    async def _not_loaded(self) -> list[str]:
        """The live releases that are not loaded; while calls go to the spool, what keeps them. Raises `StoreError`."""
        if self.outage is None:
            await self.store.probe()
        elif not await self.outage.up():
            return await self.outage.stuck()
        live = {task: await self.store.live(task) for task in task_names(self.settings)}
        wanted = {task: release.name for task, release in live.items() if release is not None}
        late = {task: name for task, name in wanted.items() if self._serves(task) != name}
        # one that is fetched, or cannot be, keeps nobody from being answered as long as another answers
        return [f"{name} is live but not loaded" for task, name in late.items() if name not in self._kept_waiting]

    @property
    def _kept_waiting(self) -> dict[str, str]:
        """The releases that do not come from the place that hosts share, while another answers their task: why."""
        said = self._coming.said.items()
        return {name: why for name, why in said if self._serves(name.partition("@")[0]) not in (None, name)}

    @property
    def waiting(self) -> list[str]:
        """What is live or tried and not here yet, each with why, and with what answers instead."""
        words = {name: f"{self._serves(name.partition('@')[0])} answers instead" for name in self._kept_waiting}
        return [f"{without_folders(why)}; {words[name]}" for name, why in self._kept_waiting.items()]

    def _serves(self, task: str) -> str | None:
        path = self._paths.get(task)
        return path.tiers[0].release if path and path.tiers else None

    def _at_hand(self, model: str) -> Path | None:
        """The path of `model` where it is open."""
        found = self._known(model)
        if found is None and (engine := self._engine(model)) is not None:
            found = self._engines.get(engine)
        return found

    async def _path(self, model: str) -> Path:
        engine = self._engine(model)
        if engine is not None:
            async with self._opening:
                if engine not in self._engines:  # in a thread: a model's weights may be read
                    opened = await asyncio.to_thread(open_passthrough, engine, self.settings, self.store, self._bases)
                    self._engines[engine] = self._given(opened)
            return self._engines[engine]
        async with self._opening:
            found = self._known(model)
            if found is None:
                self._paths[model] = found = self._given(await self._open(model))
            return found

    def _given(self, path: Path) -> Path:
        """The path as it is lent: with answers to give again where it has a scope, its calls noted by the outage."""
        path = replace(path, answers=self.answers) if path.scope else path
        return path if self.outage is None else self.outage.path(path)

    def _known(self, model: str) -> Path | None:
        if model in self._paths:
            return self._paths[model]
        task = model.partition("@")[0]
        if "@" in model and self._serves(task) == model:
            return self._paths[task]
        return None

    async def _open(self, model: str) -> Path:
        task, pinned, version = model.partition("@")
        self._tasks = known = task_names(self.settings)
        if task not in known:
            near = difflib.get_close_matches(model, [*known, *self.settings.engines], n=1)
            hint = f"did you mean {near[0]}?" if near else "GET /v1/models lists what there is"
            raise Missing(f"there is no model {model!r}", hint=hint, at="model")
        if self.outage is not None and self.outage.away:
            raise StoreError(f"the store is down, and {model} is not loaded", hint="try again later", at="model")
        if pinned and (await self.store.release(task, version)).stage == "candidate":
            raise Conflict(
                f"{model} is a candidate", hint=f"insource release gate {model}, then promote it", at="model"
            )
        return await open_path(model, self.settings, self.store, bases=self._bases)

    def _engine(self, model: str) -> str | None:
        """The engine that `model` names, itself or by the model behind it; a task's name goes first."""
        if not model or model.partition("@")[0] in self._tasks:
            return None
        if model in self.settings.engines:
            return model
        return next((name for name, engine in self.settings.engines.items() if engine.model == model), None)

    def _replace(self, task: str, path: Path | None) -> None:
        """Another path answers the task. The one that did stands by under its release's name, for a way back."""
        old, former = self._paths.pop(task, None), self._standby.pop(task, None)
        if path is not None:
            self._paths[task] = path
            self._paths.pop(path.tiers[0].release or "", None)
        if former is not None and former is not path:
            self._paths = {name: one for name, one in self._paths.items() if one is not former}
            self._leaving[id(former.tiers)] = former
        if old is not None:
            self._paths[old.tiers[0].release or task] = self._standby[task] = old

    def _leave(self, name: str) -> None:
        """Nothing is to be asked of this release any more, unless it answers its task or stands by."""
        path = self._paths.get(name)
        if path is not None and all(path is not one for one in self._standby.values()):
            self._leaving[id(path.tiers)] = self._paths.pop(name)

    async def _let_go(self, path: Path) -> None:
        if id(path.tiers) in self._leaving and not self._calls[id(path.tiers)] and not self.trying.holds(path):
            del self._leaving[id(path.tiers)]
            await close_path(path)


class _Lent:
    """A path that is lent to one call."""

    __slots__ = ("_desk", "_model", "_path", "_why")

    def __init__(self, desk: Desk, model: str, why: str) -> None:
        self._desk, self._model, self._why = desk, model, why

    async def __aenter__(self) -> Path:
        self._path = await self._desk.take(self._model)
        return replace(self._path, rule=self._why) if self._why else self._path

    async def __aexit__(self, *_: object) -> None:
        await self._desk.give(self._path)
