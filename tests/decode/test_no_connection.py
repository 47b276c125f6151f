"""A model in this process looks nothing up and calls nobody, its libraries' own habits included."""

import json
import subprocess
import sys

import pytest

from insource.engines.local import LocalModel
from insource.settings import inherited_environment

pytest.importorskip("torch")
pytest.importorskip("transformers")

# urllib3, where it is there for others, tries at its import whether an address of IPv6 can be bound: that calls nobody
CHILD = """
import asyncio, json, sys
from pathlib import Path
heard = []
sys.addaudithook(lambda event, about: heard.append(event) if event.startswith("socket.") else None)
from insource.engines.base_model import BaseModel
from insource.engines.local import LocalModel
from insource.nouns import Output, Task, ask

async def answer():
    engine = BaseModel(LocalModel(name="tiny", folder=Path(sys.argv[1]), sha256="0" * 64), name="tiny")
    task = Task(name="t", kind="classify", outputs=(Output(name="cause", labels=("bearing", "sealing")),))
    said = await engine.complete(ask(task, "the pump leaks", id="1"))
    await engine.close()
    return said.value

value = asyncio.run(answer())
import socket
before = [event for event in heard if event not in ("socket.__new__", "socket.bind")]
socket.getaddrinfo("127.0.0.1", 80)
print(json.dumps([value, before, heard[-1]]))
"""


@pytest.mark.slow
def test_a_base_model_answers_without_a_connection_or_a_look_up(tiny: LocalModel) -> None:
    env = inherited_environment()
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        env.pop(name, None)
    words = [sys.executable, "-c", CHILD, str(tiny.folder)]
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    value, heard, last = json.loads(done.stdout.splitlines()[-1])
    assert value["cause"] in ("bearing", "sealing")
    assert heard == []
    assert last == "socket.getaddrinfo", "else nothing was listened to"
