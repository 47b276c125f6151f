"""A socket, a server, and an orderly end."""

import asyncio
import gc
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from insource.errors import Conflict, Denied, Invalid
from insource.serve.hosts import is_loopback
from insource.serve.patience import Patience, Watch
from insource.serve.tls import options

DRAIN_S, LAST_WORDS_S = 30, 5
TAKE_S, MOST_COMING = 0.005, 1024
TIDY_TICKS, FEW_CALLS = 100, 256  # of a tenth of a second
STANDARD = Patience()


def event_loop() -> asyncio.AbstractEventLoop:
    """A new loop: uvloop's where there is one (not on Windows), which handles a call in half the time."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def listen(host: str, port: int, *, network: bool = False, keys: bool = False) -> socket.socket:
    """A bound socket. Raises `Conflict` when it is in use.

    Raises `Denied` for a host beyond this machine unless `network` allows it and there are `keys` to ask for.
    """
    if (network or not is_loopback(host)) and not keys:
        raise Denied(
            "there is no API key: from the network anyone could call",
            hint="insource keys create NAME makes one; or leave --host and --allow-network out",
        )
    if not network and not is_loopback(host):
        raise Denied(f"{host} is reachable from the network", hint="add --allow-network, or leave --host out")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only on sockets that name their protocol; else each waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except socket.gaierror as error:
        bound.close()
        raise Invalid(f"there is no host {host!r} here: {error.strerror}", hint="--host 127.0.0.1") from error
    except OSError as error:
        bound.close()
        free = _free_port(host, family)
        raise Conflict(
            f"cannot listen on {host}:{port}: {error.strerror}", hint=f"another port is free: --port {free}"
        ) from error
    bound.listen(2048)
    return bound


async def run_server(
    app: Starlette,
    bound: socket.socket,
    ready: Callable[[], None],
    tls: ssl.SSLContext | None = None,
    patience: Patience = STANDARD,
) -> int:
    """Serves until SIGTERM or Ctrl-C: takes no new calls then, ends those begun, and returns.

    Calls that take longer than 30 s more, or than the user's patience (a second signal), are put on record and told;
    how many is returned. `ready` is called once calls are taken. Connections that stand still end as `patience` says.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
        ws="none",
        **options(tls),
    )
    # uvicorn raises the signal again when it has shut down; then it must not kill us before the store is closed.
    before = {number: signal.signal(number, _noted) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server = _Server(config, ready, Watch(patience, most_files))
        watching = asyncio.create_task(app.state.door.watch(server.server_state, lambda: app.state.desk.store.behind_s))
        taking = asyncio.create_task(server.take_all(bound))
        await server.serve(sockets=[bound])
        taking.cancel()
        watching.cancel()
        left = set(server.server_state.tasks)
        for task in left:
            task.cancel()  # a second signal leaves them running
        if left:
            await asyncio.wait(left, timeout=LAST_WORDS_S)
        if server.force_exit:
            await server.lifespan.shutdown()
        await asyncio.sleep(0)
    finally:
        for number, action in before.items():
            signal.signal(number, action)
    return int(app.state.broken_off)


def address(bound: socket.socket, scheme: str = "http") -> str:
    """The URL of a bound socket, with a host that a client on this machine can call."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - shown, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _Server(uvicorn.Server):
    """Says when it is up, and looks after its connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], watch: Watch) -> None:
        super().__init__(config)
        self._ready, self._watch = ready, watch
        self._coming = set[asyncio.Task[object]]()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends it in order, the second time at once: a child only of Ctrl-C, for the system may tell it to end too."""
        alone = self.config.app.state.siblings is None  # type: ignore[union-attr]
        super().handle_exit(signal.SIGINT if alone else sig, frame)

    async def take_all(self, bound: socket.socket) -> None:
        """Takes, until cancelled, the connections that still wait.

        libuv takes one a turn of the loop. Turns are long when there is much to do, and who waits in the system's queue
        meanwhile is neither answered nor refused.
        """
        while not self.should_exit:
            await asyncio.sleep(TAKE_S)
            try:
                while self.started and len(self._coming) < MOST_COMING:
                    self._take(bound.accept()[0])
            except OSError:
                continue  # none waits, or there is no room for one

    def _take(self, taken: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        coming = loop.create_task(loop.connect_accepted_socket(self._protocol, taken, ssl=self.config.ssl))
        self._coming.add(coming)
        coming.add_done_callback(self._came)

    def _came(self, coming: asyncio.Task[object]) -> None:
        self._coming.discard(coming)
        if not coming.cancelled():
            coming.exception()  # one that fails to agree on TLS is gone

    def _protocol(self) -> asyncio.Protocol:
        more = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        return self.config.http_protocol_class(**more)

    async def on_tick(self, counter: int) -> bool:
        """What is to be done ten times a second; true when it is to end."""
        if counter % 10 == 0:
            self._watch.look(self.server_state.connections, time.monotonic())
        if counter % TIDY_TICKS == 0 and self.config.app.state.door.under_way < FEW_CALLS:  # type: ignore[union-attr]
            gc.collect(1)  # what errors leave, a few cycles each; with few calls under way there is little to look at
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, then says so."""
        await super().startup(sockets=sockets)
        if self.started:
            gc.collect()
            gc.freeze()  # what was loaded stays: looking through it again and again is what delays a call in a hundred
            # A call leaves no cycles: what it made goes when it ends. Looking through two thousand calls under way for
            # cycles took 170 ms at a time, in which nobody was answered or refused. So that waits for a quiet moment
            # (`on_tick`), but for a million things at most: what thousands of calls and their connections take.
            gc.set_threshold(1_000_000, 50, 1000)
            self._ready()


def _noted(_: int, __: FrameType | None) -> None:
    """The signal was obeyed already."""


def _free_port(host: str, family: socket.AddressFamily) -> int:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return 8081
        return int(probe.getsockname()[1])


def most_files() -> int:
    """How many files and connections the process may have open; very many where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return sys.maxsize
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
