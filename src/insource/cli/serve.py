"""`insource serve`: the gateway."""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
from msgspec.structs import replace
from starlette.applications import Starlette

from insource.cli.door import Door, run, verb
from insource.console.app import create_console
from insource.engines.shared_base import Bases
from insource.errors import Invalid
from insource.journeys.lineup import quiet
from insource.journeys.plan import policy_of
from insource.journeys.serve import open_live
from insource.nouns import Noun
from insource.route import Facts, choose
from insource.serve.app import create_app
from insource.serve.books import open_books
from insource.serve.log import notice
from insource.serve.metrics_page import here
from insource.serve.run import address, event_loop, listen, run_server
from insource.serve.seeing import to_stderr, watched
from insource.serve.siblings import Siblings
from insource.serve.tls import context
from insource.serve.workers import READY, Workers, orphaned, program
from insource.settings import Settings, task_names
from insource.store import Store

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
EXAMPLE = """
\b
Examples:
  insource serve
  insource serve --port 8081
  curl localhost:8080/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model": "tickets", "messages": [{"role": "user", "content": "where is my order?"}]}'
"""
PEOPLE = "insource serve --workers 1 --port 8081, beside this one"
KEYED = "an API key is asked for: insource keys list"
OPEN = "no API key yet: every program on this machine may call, nobody else. insource keys create NAME changes that"


class Asked(Noun, frozen=True, kw_only=True):
    """The options, as typed."""

    host: str | None
    port: int | None
    workers: int | None
    allow_network: bool
    cert: Path | None
    private: Path | None
    client_ca: Path | None
    log_json: bool

    def where(self, settings: Settings) -> tuple[str, int]:
        """Where to listen."""
        return self.host or settings.serve.host, settings.serve.port if self.port is None else self.port

    def tls(self) -> ssl.SSLContext | None:
        """TLS, where it was asked for. Raises `Invalid`."""
        if self.cert is None and self.private is None and self.client_ca is None:
            return None
        if self.cert is None or self.private is None:
            raise Invalid("TLS takes both a certificate and its key", hint="--tls-cert FILE --tls-key FILE")
        return context(self.cert, self.private, self.client_ca)


class Told(NamedTuple):
    """What a child was told by its parent: the socket, a pipe for the word that it is ready, and its number."""

    bound_to: int
    pipe: int
    number: int

    def bound(self) -> socket.socket:
        """The parent's socket."""
        return socket.socket(fileno=self.bound_to)

    def ready(self, app: Starlette) -> None:
        """Says so. A child whose parent is gone ends, since nobody would tell it to."""
        counted = app.state.desk.seeing.metrics.families
        app.state.writing = asyncio.create_task(app.state.siblings.keep(lambda: counted(here(app.state))))
        os.write(self.pipe, READY)
        os.close(self.pipe)
        _with_parent(os.getppid())


def _with_parent(parent: int) -> None:
    """Ends this child, in order, once its parent is gone."""
    if orphaned(parent):
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        asyncio.get_running_loop().call_later(1, _with_parent, parent)


class SilentDoor(Door):
    """Says nothing."""

    def say(self, words: str = "") -> None:
        """Nothing."""

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """A progress that says nothing."""
        yield quiet


class JsonDoor(Door):
    """Says everything in lines of JSON, as the log beside it."""

    def say(self, words: str = "") -> None:
        """One line, blank ones of `words` left out."""
        to_stderr(notice(" ".join(words.split())))

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """A progress that says nothing."""
        yield quiet


@verb("serve", epilog=EXAMPLE)
@click.option("--host", help="Where to listen (default: serve.host of insource.toml, 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="The port (default: serve.port, 8080; 0 takes a free one).")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes (default: serve.workers, 1).")
@click.option("--worker", metavar="FD,FD,NUMBER", hidden=True)
@click.option("--allow-network", is_flag=True, help="Listen beyond this machine; takes an API key.")
@click.option("--tls-cert", "cert", type=FILE, help="Serve HTTPS with this certificate (PEM, its chain behind it).")
@click.option("--tls-key", "private", type=FILE, help="Its private key (PEM).")
@click.option("--client-ca", type=FILE, help="Only clients with a certificate of this authority connect (PEM).")
@click.option("--log-json", is_flag=True, help="Log a line of JSON on stderr for each call, without its text.")
def command(door: Door, worker: str | None, **asked: Any) -> None:
    """Serve every live release, and the engines of insource.toml, over the OpenAI API at /v1; people go to /console.

    What is promoted while it runs is loaded within seconds. Ctrl-C or SIGTERM ends it once every call begun is
    answered, after 30 s at most; a second one at once. Without any API key only this machine may call. A client that
    sends no key is known by its certificate: its common name is the name of the key that it then has.
    """
    said = Asked(**asked)
    settings = watched(door.settings(), log_json=said.log_json)
    workers = said.workers or settings.serve.workers
    settings = replace(settings, serve=replace(settings.serve, workers=workers))
    if settings.observe.log_json:
        door = JsonDoor(door.directory, door.json)
    told = None if worker is None else Told(*[int(word) for word in worker.split(",")])
    parent = workers > 1 and told is None
    run(_parent(door, said, settings) if parent else _serve(door, said, settings, told), event_loop)


async def _parent(door: Door, asked: Asked, settings: Settings) -> None:
    """Binds, and has children answer."""
    tls = asked.tls()
    async with await Store.open(settings) as store:
        keys = bool((await store.keys())[0])
        live = [task for task in task_names(settings) if await store.live(task)]
    with listen(*asked.where(settings), network=asked.allow_network, keys=keys) as bound:
        url, count = address(bound, "https" if tls else "http"), settings.serve.workers
        door.say(f"{count} processes share {url}")
        workers = Workers(bound, count, [*program(), *_again(door, asked, count)], door.say)
        models = [*live, *settings.engines]
        key = "KEY" if keys else "none"
        broken = await workers.run(lambda: _ready(door, models, url, key, PEOPLE))
    door.say(f"stopped; {f'{broken} of them did not end well' if broken else 'every call begun was answered'}")


def _again(door: Door, asked: Asked, count: int) -> list[str]:
    """The words that start a child."""
    said = {"--tls-cert": asked.cert, "--tls-key": asked.private, "--client-ca": asked.client_ca, "--workers": count}
    flags = {"--allow-network": asked.allow_network, "--log-json": asked.log_json}
    given = [word for name, value in said.items() if value is not None for word in (name, str(value))]
    return ["-C", str(door.directory), "serve", *given, *[name for name, on in flags.items() if on]]


async def _serve(door: Door, asked: Asked, settings: Settings, told: "Told | None") -> None:
    tls = asked.tls()
    if told is not None and told.number:
        door = SilentDoor(door.directory, door.json)  # the first of the children says what all would
    bases = Bases(settings.cache)
    async with await Store.open(settings) as store:
        keys = bool((await store.keys())[0])
        with told.bound() if told else listen(*asked.where(settings), network=asked.allow_network, keys=keys) as bound:
            with door.progress() as progress:
                paths, problems = await open_live(settings, store, progress=progress, bases=bases)
            for task, problem in problems.items():
                door.say(f"not served: {task}: {problem}. {problem.hint}")
            for name, path in paths.items():
                door.say(f"serving {name}: {path.tiers[0].release}")
                for choice in path.refused:
                    door.say(f"  not asked for help: {choice.reason}")
            for words in (*_warnings(settings), *await open_books(settings, store)):
                door.say(words)
            door.say(KEYED if keys else OPEN)
            app = create_app(settings, store, paths, follow=True, network=asked.allow_network, bases=bases)
            models, url = [*paths, *settings.engines], address(bound, "https" if tls else "http")
            if told is None:  # whoever is signed in is known to one process alone
                app.mount("/console", create_console(settings, store, app.state.keyring))
            else:
                app.state.siblings = Siblings(settings.state / "workers", told.number)
            ready = (lambda: told.ready(app)) if told else lambda: _ready(door, models, url, "KEY" if keys else "none")
            broken = await run_server(app, bound, ready, tls)
    if told is not None:
        return
    late = f"{broken} calls begun could not be waited for; they were told"
    door.say(f"stopped; {late if broken else 'every call begun was answered'}")


def _warnings(settings: Settings) -> Iterator[str]:
    """What the settings promise less of, or more, than they may seem to."""
    for name, engine in settings.engines.items():
        if engine.address and engine.region and not settings.networks.held(engine.region):
            yield f"not held to {engine.region}: {name}; {engine.region} has no list under [networks]"
    for choice in choose(None, Facts(length=0), policy_of(settings)):
        if not choice.allowed:
            yield f"not asked for what the router does not know: {choice.reason}"


def _ready(door: Door, models: list[str], url: str, key: str, people: str = "") -> None:
    model = next(iter(models), "TASK")
    if door.json:
        door.show({"url": url, "models": models}, "")
    if isinstance(door, JsonDoor):
        door.say(f"ready: {url}/v1")
        return
    bearer = f" -H 'authorization: Bearer {key}'" if key == "KEY" else ""
    door.say(f"""
ready: {url}/v1   (Ctrl-C stops)
  for people: {people or f"{url}/console"}

  curl {url}/v1/chat/completions -H 'content-type: application/json'{bearer} \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "…"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{key}")
  client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "…"}}])
""")
