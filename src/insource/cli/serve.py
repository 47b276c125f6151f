"""`insource serve`: the gateway."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

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
from insource.serve.run import address, event_loop, listen, run_server
from insource.serve.seeing import to_stderr, watched
from insource.serve.tls import context
from insource.settings import Settings
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
KEYED = "an API key is asked for: insource keys list"
OPEN = "no API key yet: every program on this machine may call, nobody else. insource keys create NAME changes that"


class Asked(Noun, frozen=True, kw_only=True):
    """The options, as typed."""

    host: str | None
    port: int | None
    allow_network: bool
    cert: Path | None
    private: Path | None
    client_ca: Path | None
    log_json: bool

    def tls(self) -> ssl.SSLContext | None:
        """TLS, where it was asked for. Raises `Invalid`."""
        if self.cert is None and self.private is None and self.client_ca is None:
            return None
        if self.cert is None or self.private is None:
            raise Invalid("TLS takes both a certificate and its key", hint="--tls-cert FILE --tls-key FILE")
        return context(self.cert, self.private, self.client_ca)


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
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--allow-network", is_flag=True, help="Listen beyond this machine; takes an API key.")
@click.option("--tls-cert", "cert", type=FILE, help="Serve HTTPS with this certificate (PEM, its chain behind it).")
@click.option("--tls-key", "private", type=FILE, help="Its private key (PEM).")
@click.option("--client-ca", type=FILE, help="Only clients with a certificate of this authority connect (PEM).")
@click.option("--log-json", is_flag=True, help="Log a line of JSON on stderr for each call, without its text.")
def command(door: Door, workers: int, **asked: Any) -> None:
    """Serve every live release, and the engines of insource.toml, over the OpenAI API at /v1; people go to /console.

    What is promoted while it runs is loaded within seconds. Ctrl-C or SIGTERM ends it once every call begun is
    answered, after 30 s at most; a second one at once. Without any API key only this machine may call. A client that
    sends no key is known by its certificate: its common name is the name of the key that it then has.
    """
    if workers > 1:
        raise Invalid("one process serves everything for now", hint="it batches concurrent calls; leave --workers out")
    run(_serve(door, Asked(**asked)), event_loop)


async def _serve(door: Door, asked: Asked) -> None:
    settings, tls = watched(door.settings(), log_json=asked.log_json), asked.tls()
    if settings.observe.log_json:
        door = JsonDoor(door.directory, door.json)
    bases = Bases(settings.cache)
    where = asked.host or settings.serve.host, settings.serve.port if asked.port is None else asked.port
    async with await Store.open(settings) as store:
        keys = bool((await store.keys())[0])
        with listen(*where, network=asked.allow_network, keys=keys) as bound:
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
            app.mount("/console", create_console(settings, store, app.state.keyring))
            models, url = [*paths, *settings.engines], address(bound, "https" if tls else "http")
            broken = await run_server(app, bound, lambda: _ready(door, models, url, "KEY" if keys else "none"), tls)
    late = f"{broken} calls begun could not be waited for; they were told"
    door.say(f"stopped; {late if broken else 'every call begun was answered'}")


def _warnings(settings: Settings) -> Iterator[str]:
    """What the settings promise less of, or more, than they may seem to."""
    for name, engine in settings.engines.items():
        if engine.base_url and engine.region and not settings.networks.held(engine.region):
            yield f"not held to {engine.region}: {name}; {engine.region} has no list under [networks]"
    for choice in choose(None, Facts(length=0), policy_of(settings)):
        if not choice.allowed:
            yield f"not asked for what the router does not know: {choice.reason}"


def _ready(door: Door, models: list[str], url: str, key: str) -> None:
    model = next(iter(models), "TASK")
    if door.json:
        door.show({"url": url, "models": models}, "")
    if isinstance(door, JsonDoor):
        door.say(f"ready: {url}/v1")
        return
    bearer = f" -H 'authorization: Bearer {key}'" if key == "KEY" else ""
    door.say(f"""
ready: {url}/v1   (Ctrl-C stops)
  for people: {url}/console

  curl {url}/v1/chat/completions -H 'content-type: application/json'{bearer} \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "…"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{key}")
  client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "…"}}])
""")
