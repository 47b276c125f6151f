"""Who can answer a task: from a candidate's name to the engine behind it.

baseline               the linear engine, fitted on the train split
zero-shot:MODEL        the untuned base model; MODEL defaults to the workspace's
few-shot:MODEL         the same with examples from the train split in its prompt
TASK@VERSION           a release, as it will be served
NAME                   an engine of insource.toml
NAME+examples          the same with examples from the train split in the instruction
"""

import difflib
from collections.abc import Callable, Container

from insource.engines.base import Engine
from insource.engines.deployment import Deployment
from insource.engines.ray_cluster import Cluster
from insource.engines.shared_base import Bases
from insource.engines.windowed import Estimate, Windowed
from insource.errors import Invalid, Missing
from insource.journeys.on_cluster import model_there, release_there
from insource.journeys.opening import open_model, open_release
from insource.journeys.turnstiles import each_alone, turnstile
from insource.nouns import Example, Release, Scan, Task
from insource.release.shared import here
from insource.settings import Settings, secret
from insource.store import Store

Progress = Callable[[str, int, int], None]
SHOTS = 8
EXAMPLES = "+examples"


def quiet(what: str, done: int, total: int) -> None:
    """A progress that says nothing."""


class Lineup:
    """Builds engines for one task; `progress(what, done, total)` hears of downloads and fits.

    With `share_base`, specialists share the base networks of `bases`: those of this line-up alone when none are given.
    What would compute in this process, releases and embedded models, does so on a `cluster` where there is one.
    """

    def __init__(
        self, settings: Settings, store: Store, task: Task, *, progress: Progress = quiet, bases: Bases | None = None,
        cluster: Cluster | None = None,
    ) -> None:  # fmt: skip
        self.settings, self.store, self.task, self.progress = settings, store, task, progress
        self.cluster = cluster
        self._bases = bases or Bases(settings.cache)

    async def names(self) -> list[str]:
        """The default candidates: baseline, base zero- and few-shot, the newest release, configured engines."""
        releases = await self.store.releases(self.task.name)
        base = self.settings.workspace.base
        local = [f"zero-shot:{base}", f"few-shot:{base}"]
        return ["baseline", *local, *[r.name for r in releases[-1:]], *self.settings.engines]

    async def engine(self, name: str, *, shots: int = SHOTS) -> Engine:
        """The engine called `name`. Raises `Missing` with the nearest name when there is none."""
        kind, _, model = name.partition(":")
        if name == "baseline":
            return await self._baseline()
        if kind in ("zero-shot", "few-shot"):
            return await self._base(model or self.settings.workspace.base, name, shots if kind == "few-shot" else 0)
        if "@" in name:
            task, _, version = name.partition("@")
            found = await self.store.release(task, version)
            await here(found, self.settings, self.store.place, self.progress)
            return self.release(found)
        if name in self.settings.engines:
            return self.configured(name)
        known = await self.names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"candidates: {', '.join(known)}"
        raise Missing(f"there is no candidate {name!r}", hint=hint)

    def release(self, release: Release) -> Engine:
        """The engine that serves `release`, from its artefact as it lies on disk; on a cluster where there is one."""
        if self.cluster is not None:
            return release_there(release, self.settings, self.cluster, self.progress)
        return open_release(release, self.settings.state, self.settings.workspace, self._bases)

    def configured(self, name: str) -> Engine:
        """The engine that insource.toml calls `name`. Raises `Missing` for a base model that is not here."""
        engine = self.settings.engines[name]
        if engine.kind == "embedded":
            return self._embedded(engine.model or self.settings.workspace.base, name)
        if engine.kind == "scripted":
            from insource.engines.scripted import Scripted

            return self._reaching(Scripted.load(name, self.settings.root / engine.script), engine.context)
        from insource.engines.outward import to_engine
        from insource.engines.remote import Remote
        from insource.scan.control import controls

        key = secret(engine.api_key_env) if engine.api_key_env else ""
        control = controls() if self.task.scan != Scan() else None
        before = turnstile(name, engine, self._bases.turnstiles)
        each = [Remote(name, one, key, to_engine(name, self.settings), control) for one in each_alone(engine)]
        return self._reaching(Deployment(each[0], before, *each[1:]), engine.context)

    def _embedded(self, model: str, name: str) -> Engine:
        """A base model as it came. Nothing is fetched here: a call that waits for a download is no answer."""
        from insource.engines.models import find

        local = find(model, self.settings.cache)
        if local is None:
            raise Missing(f"the base model {model} is not on this machine", hint=f"insource models pull {model}")
        if self.cluster is not None:
            return model_there((local, name, self.task), self.settings, self.cluster, self.progress)
        return open_model(local, name, self.task, self.settings.workspace.threads)

    def _reaching(self, engine: Engine, context: int) -> Engine:
        """The engine, asked in windows where its `context` (tokens, 0 = unknown) is too short; as it is for words."""
        if self.task.kind == "generate":
            return engine  # it can still stream
        return Windowed(engine, Estimate(context) if context else None)

    async def _baseline(self) -> Engine:
        from insource.engines.linear import Linear

        train, dev = await self._rows("train"), await self._rows("dev")
        return Linear.fit(self.task, train, dev, name="baseline", progress=self.progress)

    async def _base(self, model: str, name: str, shots: int) -> Engine:
        from insource.engines.base_model import BaseModel
        from insource.engines.models import resolve, unprobed

        local = resolve(model, self.settings.cache, progress=self.progress)
        if words := unprobed(model, self.settings.cache):
            self.progress(words, 0, 0)
        examples = tuple(choose_shots(await self._rows("train"), self.task, shots)) if shots else ()
        return Windowed(BaseModel(local, name=name, shots=examples, threads=self.settings.workspace.threads))

    async def _rows(self, split: str) -> list[Example]:
        dataset = await self.store.dataset(self.task.name)
        if dataset is None:
            raise Invalid(f"no rows collected for {self.task.name} yet", hint=f"insource collect {self.task.name} FILE")
        return await self.store.examples(dataset.id, split)


def engine_of(name: str, engines: Container[str]) -> str | None:
    """Which of `engines` a candidate's name means, as it is or shown examples; None where it means none of them."""
    plain = name.removesuffix(EXAMPLES)
    return next((one for one in (name, plain) if one in engines), None)


def choose_shots(rows: list[Example], task: Task, count: int) -> list[Example]:
    """`count` short rows, one label of the first output after another, the same for the same rows."""
    first = task.fields[0] if task.fields else ""
    by_label: dict[str, list[Example]] = {}
    for row in sorted(rows, key=lambda row: (len(row.input), row.id)):
        by_label.setdefault(str(row.target.get(first)), []).append(row)
    order = sorted(by_label, key=lambda label: (-len(by_label[label]), label))
    picked = [by_label[label][len(by_label[label]) // 2] for label in order]
    return picked[:count]
