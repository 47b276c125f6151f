"""`insource serve`: the gateway."""

import click

from insource.cli.door import Door, run, verb
from insource.engines.shared_base import Bases
from insource.errors import Invalid
from insource.journeys.serve import open_live
from insource.serve.app import create_app
from insource.serve.run import address, listen, run_server
from insource.store import Store

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


@verb("serve", epilog=EXAMPLE)
@click.option("--host", help="Where to listen (default: serve.host of insource.toml, 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="The port (default: serve.port, 8080; 0 takes a free one).")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--allow-network", is_flag=True, help="Listen beyond this machine; takes an API key.")
def command(door: Door, host: str | None, port: int | None, workers: int, allow_network: bool) -> None:
    """Serve every live release, and the engines of insource.toml, over the OpenAI API at /v1.

    What is promoted while it runs is loaded within seconds. Ctrl-C or SIGTERM ends it once every call begun is
    answered, after 30 s at most; a second one at once. Without any API key only this machine may call.
    """
    if workers > 1:
        raise Invalid("one process serves everything for now", hint="it batches concurrent calls; leave --workers out")
    run(_serve(door, host, port, allow_network))


async def _serve(door: Door, host: str | None, port: int | None, allow_network: bool) -> None:
    settings = door.settings()
    bases = Bases(settings.cache)
    where = host or settings.serve.host, settings.serve.port if port is None else port
    async with await Store.open(settings) as store:
        keys = bool((await store.keys())[0])
        with listen(*where, network=allow_network, keys=keys) as bound:
            with door.progress() as progress:
                paths, problems = await open_live(settings, store, progress=progress, bases=bases)
            for task, problem in problems.items():
                door.say(f"not served: {task}: {problem}. {problem.hint}")
            for name, path in paths.items():
                door.say(f"serving {name}: {path.tiers[0].release}")
                for choice in path.refused:
                    door.say(f"  not asked for help: {choice.reason}")
            door.say(KEYED if keys else OPEN)
            app = create_app(settings, store, paths, follow=True, network=allow_network, bases=bases)
            models, url = [*paths, *settings.engines], address(bound)
            broken = await run_server(app, bound, lambda: _ready(door, models, url, "KEY" if keys else "none"))
    late = f"{broken} calls begun could not be waited for; they were told"
    door.say(f"stopped; {late if broken else 'every call begun was answered'}")


def _ready(door: Door, models: list[str], url: str, key: str) -> None:
    model = next(iter(models), "TASK")
    if door.json:
        door.show({"url": url, "models": models}, "")
    bearer = f" -H 'authorization: Bearer {key}'" if key == "KEY" else ""
    door.say(f"""
ready: {url}/v1   (Ctrl-C stops)

  curl {url}/v1/chat/completions -H 'content-type: application/json'{bearer} \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "…"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{key}")
  client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "…"}}])
""")
