"""What runs on a node of a Ray cluster: an engine, opened from what was sent, that answers batches.

It has no store, no keys and no settings but those of its order. What it was sent lies in `ray` of the node's own cache
of models and is found there the next time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from insource import __version__
from insource.engines.base import Engine
from insource.engines.crew_wire import Answer, fault_of, requests_of
from insource.engines.local import LocalModel
from insource.engines.parcels import Parcel, Unpacking, sweep
from insource.engines.ray_cluster import Reply
from insource.engines.shared_base import Bases
from insource.errors import Conflict, InsourceError, Invalid
from insource.journeys.opening import open_model, open_release
from insource.nouns import Noun, Prediction, Release, Task, from_json, to_json
from insource.settings import WorkspaceSettings, cache_folder

FOLDER, STATE, MODEL, BASE = "ray", "state", "model", "models"
READS = 32  # at once, of an engine that says nothing else


class Order(Noun, frozen=True, kw_only=True):
    """What is to be opened: a release, or a `model` (its name and SHA-256) under a name for a task.

    The files of the first parcel are its own; those of a second the base model that it shares.
    """

    parcels: tuple[Parcel, ...]
    threads: int = 0
    release: Release | None = None
    share_base: bool = False
    name: str = ""
    task: Task | None = None
    model: tuple[str, str] = ("", "")


class Node:
    """The actor: told what is to be opened, given what it lacks of it, asked."""

    def __init__(self) -> None:
        self._order: Order | None = None
        self._parcels: dict[str, Unpacking] = {}
        self._engine: Engine | None = None

    async def begin(self, version: str, order: bytes) -> bytes:
        """Which parcels are not on this node. `version` is whose order it is: another one may mean other things."""
        return await _said(lambda: asyncio.to_thread(self._begin, version, order))

    async def take(self, parcel: str, path: str, piece: bytes) -> bytes:
        """The next piece of a file."""
        return await _said(lambda: asyncio.to_thread(self._take, parcel, path, piece))

    async def open(self) -> bytes:
        """How many requests are read at once, once the engine is open."""
        return await _said(lambda: asyncio.to_thread(self._open))

    async def answer(self, batch: bytes) -> bytes:
        """What came of each request of the batch, in its order: all are put to the engine at once."""
        if self._engine is None:
            raise Conflict("nothing was opened here")
        asked = [self._engine.complete(request) for request in requests_of(batch)]
        return to_json([_answer(one) for one in await asyncio.gather(*asked, return_exceptions=True)])

    def _begin(self, version: str, order: bytes) -> Reply:
        if version != __version__:
            words = f"insource {__version__} is installed there, and {version} here"
            raise Conflict(words, hint="install the same version on every node")
        self._order = from_json(order, Order)
        home = cache_folder() / FOLDER
        sweep(home, self._order.parcels)
        self._parcels = {parcel.id: Unpacking(parcel, home) for parcel in self._order.parcels}
        return Reply(lacks=tuple(name for name, parcel in self._parcels.items() if parcel.lacks))

    def _take(self, parcel: str, path: str, piece: bytes) -> Reply:
        self._parcels[parcel].take(path, piece)
        return Reply()

    def _open(self) -> Reply:
        if self._order is None:
            raise Invalid("nothing was ordered")
        for parcel in self._parcels.values():
            parcel.finish()
        self._engine = _opened(self._order, [parcel.folder for parcel in self._parcels.values()])
        engine: object = self._engine
        while engine is not None and not hasattr(engine, "reads_at_once"):
            engine = getattr(engine, "engine", None)
        return Reply(reads=int(getattr(engine, "reads_at_once", READS)))


def _opened(order: Order, folders: list[Path]) -> Engine:
    if order.release is not None:
        workspace = WorkspaceSettings(threads=order.threads, share_base=order.share_base)
        return open_release(order.release, folders[0] / STATE, workspace, Bases(folders[-1]))
    if order.task is None:
        raise Invalid("an order names a release, or a model and a task")
    local = LocalModel(name=order.model[0], folder=folders[0] / MODEL, sha256=order.model[1])
    return open_model(local, order.name, order.task, order.threads)


async def _said(work: Callable[[], Awaitable[Reply]]) -> bytes:
    try:
        return to_json(await work())
    except InsourceError as error:
        return to_json(Reply(fault=fault_of(error)))


def _answer(result: Prediction | BaseException) -> Answer:
    if isinstance(result, BaseException):
        return Answer(fault=fault_of(result))
    return Answer(prediction=result)
