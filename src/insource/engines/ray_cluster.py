"""A Ray cluster: connected to, looked over, and an actor for every place of it that computes.

The only file that knows Ray. What is sent is bytes; that Ray itself pickles what it wraps around them is its own.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from insource import __version__
from insource.engines.aside import aside
from insource.engines.crew_wire import Fault
from insource.engines.outward import Outward
from insource.engines.parcels import Packed
from insource.errors import EngineDown, InsourceError, Invalid, Outside
from insource.nouns import Noun, from_json

AUTO, CLIENT = "auto", "ray://"
CONNECT_S, HIRE_S, PARTING_S = 5.0, 900.0, 10.0
JOIN_S, JOIN_CLIENT_S = 20.0, 60.0  # for a client the head starts a process first
CLIENT_TRIES = 3  # that process is forked beside gRPC's threads, and now and then it is dead before it has begun
CALLS = 16  # at a time with one actor
REFUSALS = (RuntimeError, ValueError, OSError, ImportError, AssertionError)  # of an address, by Ray
EXTRA = "pip install 'insource[ray]' on this machine and on every node"
START = "ray start --head makes a cluster; --ray auto finds the one on this machine"


class Machine(NamedTuple):
    """A node that takes work. `cpus` and `gpus` are what Ray may give away of it."""

    id: str
    address: str
    cpus: int
    gpus: int


class Reply(Noun, frozen=True, kw_only=True):
    """What an actor says: what went wrong, the parcels it lacks, and how many requests it reads at once."""

    fault: Fault | None = None
    lacks: tuple[str, ...] = ()
    reads: int = 0


class Cluster:
    """A connection to a Ray cluster. Close it: what it holds there is freed with it.

    Nodes to which the `outward` way leads not get nothing. Raises `Invalid` for an address that is none, `Outside`
    for one that may not be called, and `EngineDown` where no cluster answers, Ray is not installed, or its version or
    Python's is another.
    """

    def __init__(self, address: str, outward: Outward) -> None:
        self._ray: Any = _library()
        self._outward = outward
        self._refused: dict[str, Outside | None] = {}
        self._pieces: dict[tuple[str, str], list[Any]] = {}
        self._putting = threading.Lock()
        self._join(self._answering(_here() if address == AUTO else address))

    def _join(self, address: str) -> None:
        """Joins the cluster. Ray would try for ever where what listens is none, so it tries on a thread of its own."""
        how = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
        patience_s = JOIN_CLIENT_S if address.startswith(CLIENT) else JOIN_S
        refusals = (self._ray.exceptions.RayError, *REFUSALS)
        for left in reversed(range(CLIENT_TRIES)):
            joined = aside(lambda: self._ray.init(**how))
            try:
                joined.result(patience_s)
                return
            except TimeoutError as error:
                why = f"no answer within {patience_s:g} s"
                raise EngineDown(f"no Ray cluster at {address}: {why}", hint=START) from error
            except refusals as error:
                if not left or not isinstance(error, ConnectionAbortedError):
                    raise _none(address, error) from error

    def _answering(self, address: str) -> str:
        """The address, by number, of who listens there; Ray itself would try for a minute.

        A name is looked up once: Ray is given what was allowed and answered, not what it would find itself.
        """
        host, port = _place(address)
        try:
            with self._outward.connect(f"{host}:{port}", (host, port), CONNECT_S) as line:
                number = str(line.getpeername()[0])
        except OSError as error:
            raise EngineDown(f"no Ray cluster at {address}: {error.strerror or 'no answer'}", hint=START) from error
        number = f"[{number}]" if ":" in number else number
        return f"{CLIENT if address.startswith(CLIENT) else ''}{number}:{port}"

    def machines(self) -> list[Machine]:
        """The nodes that are alive, have a processor to give, and may be sent to. Raises `EngineDown`.

        Raises `Outside` where there are some and none may be sent to.
        """
        alive = [node for node in self._nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        refused = [why for node in alive if (why := self._refusal(node)) is not None]
        if alive and len(refused) == len(alive):
            raise refused[0]
        return [
            Machine(
                node["NodeID"],
                node["NodeManagerAddress"],
                int(node["Resources"]["CPU"]),
                int(node["Resources"].get("GPU", 0)),
            )
            for node in alive
            if self._refusal(node) is None
        ]

    def _refusal(self, node: Mapping[str, Any]) -> Outside | None:
        """Why nothing is sent to the node. The way to it is asked for once, and counted."""
        if node["NodeID"] not in self._refused:
            try:
                self._outward.leaving(
                    f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}", node["NodeManagerAddress"]
                )
                self._refused[node["NodeID"]] = None
            except Outside as error:
                self._refused[node["NodeID"]] = error
        return self._refused[node["NodeID"]]

    def _nodes(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self._ray.nodes()
        except (self._ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
            raise EngineDown("the Ray cluster does not say which nodes it has", hint=START) from error
        return found

    def pieces(self, packed: Packed, path: str) -> list[Any]:
        """References to the pieces of a file. They are put once: nodes get them from each other."""
        key = packed.parcel.id, path
        with self._putting:  # every node that is hired asks for them at once
            if key not in self._pieces:
                self._pieces[key] = [self._ray.put(piece) for piece in packed.pieces(path)]
            return self._pieces[key]

    def actor(self, kind: type, machine: Machine, share: int) -> Any:
        """An actor of this kind on the machine, which takes one of `share` equal parts of it."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {
            "num_cpus": max(1, machine.cpus // share),
            "num_gpus": 1 if machine.gpus else 0,
            "max_restarts": 0,
            "max_task_retries": 0,
            "max_concurrency": CALLS,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(machine.id, soft=False),
        }
        return self._ray.remote(kind).options(**options).remote()

    def get(self, reference: Any, within_s: float) -> Any:
        """What a call came to. Raises `EngineDown` where it came to nothing in so many seconds."""
        try:
            return self._ray.get(reference, timeout=within_s)
        except self._ray.exceptions.GetTimeoutError as error:
            raise EngineDown(
                f"nothing came of it within {within_s:g} s", hint="ray status shows what is free"
            ) from error
        except self._ray.exceptions.RayError as error:
            raise EngineDown(f"insource does not run there: {type(error).__name__}", hint=EXTRA) from error

    @property
    def lost(self) -> type[Exception]:
        """What an awaited call raises whose actor is gone."""
        kind: type[Exception] = self._ray.exceptions.RayError
        return kind

    def kill(self, actor: Any) -> None:
        """Ends the actor at once."""
        if self._ray.is_initialized():
            self._ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """Leaves the cluster, with all that is held there. One that no longer answers is not waited for."""
        self._pieces.clear()
        leaving = threading.Thread(target=self._ray.shutdown, daemon=True)
        leaving.start()
        leaving.join(PARTING_S)
        self._outward.close()


class Actor:
    """A hand of a crew: the actor on its node."""

    def __init__(self, actor: Any, cluster: Cluster, reads: int) -> None:
        self._actor, self._cluster, self.reads = actor, cluster, reads

    async def ask(self, batch: bytes) -> bytes | None:
        """The answers; None where the actor or its node is gone."""
        try:
            return bytes(await self._actor.answer.remote(batch))
        except self._cluster.lost:
            return None

    def dismiss(self) -> None:
        """Ends the actor."""
        self._cluster.kill(self._actor)


class Actors:
    """The staff of a crew: an actor of `kind` for each node, one for each of its GPUs where it has some.

    Each is told the `order`, given those of the `parcels` that its node lacks, and opens the engine.
    """

    def __init__(self, cluster: Cluster, kind: type, order: bytes, parcels: Sequence[Packed]) -> None:
        self._cluster, self._kind, self._order = cluster, kind, order
        self._parcels: Mapping[str, Packed] = {packed.parcel.id: packed for packed in parcels}
        self._machines: dict[str, tuple[Machine, int]] = {}
        self._actors: list[Any] = []
        self._closed = False

    def places(self) -> list[str]:
        """An entry for each engine there is to be."""
        found: dict[str, tuple[Machine, int]] = {}
        for machine in self._cluster.machines():
            share = max(1, machine.gpus)
            found |= {f"{machine.address} ({machine.id[:8]}, {i})": (machine, share) for i in range(share)}
        self._machines |= found
        return list(found)

    def hire(self, place: str) -> Actor:
        """The actor, with its engine open. Raises `EngineDown`, and what opening it raises, with the place."""
        actor = self._cluster.actor(self._kind, *self._machines[place])
        self._actors.append(actor)
        if self._closed:
            self._cluster.kill(actor)
        try:
            lacks = self._said(actor.begin.remote(__version__, self._order)).lacks
            for parcel in lacks:
                self._give(actor, self._parcels[parcel])
            return Actor(actor, self._cluster, self._said(actor.open.remote()).reads)
        except InsourceError as error:
            self._cluster.kill(actor)
            raise type(error)(f"node {place}: {error}", hint=error.hint) from error

    def close(self) -> None:
        """Ends every actor."""
        self._closed = True
        for actor in self._actors:
            self._cluster.kill(actor)

    def _said(self, reference: Any) -> Reply:
        reply = from_json(self._cluster.get(reference, HIRE_S), Reply)
        if reply.fault is not None:
            raise reply.fault.error
        return reply

    def _give(self, actor: Any, packed: Packed) -> None:
        for item in packed.parcel.items:
            for piece in self._cluster.pieces(packed, item.path):
                self._said(actor.take.remote(packed.parcel.id, item.path, piece))


def _none(address: str, error: Exception) -> EngineDown:
    lines = (str(error).strip() or type(error).__name__).splitlines()
    why = lines[0] if len(lines) == 1 else f"{lines[0].rstrip(' :')}: {lines[-1].strip()}"  # its own, then the cause
    return EngineDown(f"no Ray cluster at {address}: {why}", hint=START)


def _library() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise EngineDown("Ray is not installed", hint=EXTRA) from error
    return ray


def _here() -> str:
    """The address that Ray would take for `auto`: RAY_ADDRESS, else that of the cluster on this machine."""
    from ray._private.services import get_ray_address_from_environment

    try:
        found = get_ray_address_from_environment(AUTO, None)
    except (ConnectionError, OSError, ValueError) as error:
        raise EngineDown("no Ray cluster runs on this machine", hint=START) from error
    if not found:
        raise EngineDown("no Ray cluster runs on this machine", hint=START)
    return str(found)


def _place(address: str) -> tuple[str, int]:
    """Host and port of an address. Raises `Invalid` for what would start a cluster, or is none."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("", "ray") or not host or port is None or parts.path.strip("/"):
        raise Invalid(f"{address!r} is no address of a Ray cluster", hint="HOST:6379, ray://HOST:10001 or auto")
    return host, port
