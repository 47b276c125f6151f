"""The clients that people use run unchanged: their own packages, against the gateway, with a key, over a socket.

Behind the gateway stands a server that answers from a script in OpenAI's wire; what each client makes of it is
compared. OpenAI's own client for Python has `test_openai_client.py`.
"""

import asyncio
import importlib.util
import json
import shutil
from pathlib import Path

import msgspec
import pytest
from serving import RULES, path_of, socket_of, tickets, workspace
from test_api import vectors

from insource.engines.scripted import Scripted
from insource.engines.scripted_server import Reply, ScriptedServer
from insource.nouns import Key, digest, key_text
from insource.serve.app import create_app
from insource.settings import EngineSettings, inherited_environment
from insource.store import Store

pytestmark = pytest.mark.slow
HERE = Path(__file__).with_name("clients")
CITY = {"name": "Paris", "country": "France"}
HELLO, SUNNY = "Hello there, friend.", {"city": "Bern"}
EVERY = {"chat": HELLO, "stream": HELLO, "tool": ["weather", SUNNY], "structured": CITY}
WANTED = {
    "langchain_client.py": EVERY | {"task": "refund", "vectors": [[1.0, 0.5], [2.0, 0.5]]},
    "llamaindex_client.py": EVERY | {"task": "refund"},
    "instructor_client.py": {"structured": CITY, "schema": CITY, "streamed": CITY},
    "pydanticai_client.py": EVERY,
    "node_client.mjs": EVERY
    | {
        "usage": True,
        "vectors": [[1.0, 0.5], [2.0, 0.5]],
        "task": "refund",
        "text": HELLO,
        "models": True,
        "wrong": 404,
    },
}


class Server(ScriptedServer):
    """A model that calls the tool it is offered, once, and answers in JSON where it is asked to."""

    def _reply(self, asked):
        said = super()._reply(asked)
        names = [tool["function"]["name"] for tool in asked.get("tools") or ()]
        if names and asked["messages"][-1]["role"] == "user":
            arguments = SUNNY if names == ["weather"] else CITY
            call = {
                "id": "call_1",
                "type": "function",
                "function": {"name": names[0], "arguments": json.dumps(arguments)},
            }
            return msgspec.structs.replace(said, text="", tool_calls=(call,), finish="tool_calls", call_letters=4)
        if (asked.get("response_format") or {}).get("type") == "json_schema":
            return msgspec.structs.replace(said, text=json.dumps(CITY))
        return said


@pytest.fixture(scope="module")
def clients() -> Path:
    """Where the clients are installed; made here, once, if need be."""
    place = Path(__file__).parents[2] / "tools" / "clients_env.py"
    spec = importlib.util.spec_from_file_location("clients_env", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make()


@pytest.mark.parametrize("script", WANTED)
async def test_it_runs_unchanged(tmp_path, clients, script):
    if script.endswith(".mjs") and not (shutil.which("node") and (clients / "node_modules").is_dir()):
        pytest.skip("no node and npm here")
    text = key_text("a" * 8, b"k" * 32)
    key = Key(id="a" * 8, name="client", digest=digest(text.encode()), created="2026-01-01T00:00:00.000+00:00")
    async with Server([Reply(text=HELLO)]) as upstream, vectors() as (embedder, _):
        settings = workspace(tmp_path)
        hub = EngineSettings(kind="openai", base_url=upstream.base_url, model="hub-large")
        more = {"hub": hub, "vectors": EngineSettings(kind="openai", base_url=embedder, model="embedder")}
        settings = msgspec.structs.replace(settings, engines=more)
        async with await Store.open(settings) as store:
            await store.add_key(key)
            app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", RULES))})
            async with socket_of(app) as url:
                found = await run(clients, script, f"{url}/v1", text)
            assert found == WANTED[script]
            records = await store.records()
            assert len(records) >= 3
            assert {record.caller for record in records} == {"client"}
            assert await store.open_calls() == 0


async def run(clients: Path, script: str, url: str, key: str) -> dict:
    """What the client's script prints. It lies beside its packages, so that Node finds them."""
    place = shutil.copy(HERE / script, clients / script)
    words = ["node"] if script.endswith(".mjs") else [str(clients / "bin" / "python")]
    clean = {name: value for name, value in inherited_environment().items() if not name.startswith("OPENAI_")}
    process = await asyncio.create_subprocess_exec(
        *words, str(place), url, key, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=clean | {"OPENAI_API_KEY": "unused", "TIKTOKEN_CACHE_DIR": str(clients)},
    )  # fmt: skip
    out, said = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, said.decode()[-3000:]
    return json.loads(out.decode().splitlines()[-1])
