"""A batch and a teacher on a Ray cluster of several nodes: the same answers as on one machine, whatever is killed."""

import json
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from tiny import build

from insource.nouns import digest
from insource.settings import inherited_environment
from insource.store.egress import FILE
from ray_nodes import nodes, own_address

pytestmark = pytest.mark.slow
WORDS = {
    "money": ["invoice", "refund", "price", "card", "paid"],
    "parcel": ["package", "courier", "late", "shipping", "box"],
    "login": ["password", "account", "locked", "reset", "code"],
}
FILLING = ["please", "the", "my", "is", "was", "not", "with", "can", "you", "help", "today", "again", "order", "it"]
TASK = """
name = "tickets"
kind = "classify"
owner = "desk@example.com"
[outputs.topic]
labels = ["money", "parcel", "login"]
[acceptance]
accuracy = 0.2
[risk]
threshold = 0.6
"""
CONFIG = """
[networks]
premises = ["127.0.0.0/8", "{here}/32"]
[engines.small]
kind = "embedded"
model = "file:{model}"
teach = "allowed"
"""
CURSED = """
import asyncio, os, sys
from pathlib import Path
from insource.engines.crew_wire import requests_of
from insource.journeys import on_cluster
from insource.journeys.batch import batch
from insource.journeys.cluster_node import Node
from insource.journeys.serve import close_path, open_path
from insource.settings import load_settings
from insource.store import Store

class Cursed(Node):
    async def answer(self, batch):
        if any("poison" in request.input for request in requests_of(batch)):
            os._exit(1)
        return await super().answer(batch)

async def main(root, source, out, address):
    on_cluster.Node = Cursed
    settings = load_settings(Path(root))
    async with await Store.open(settings) as store, on_cluster.cluster_at(address, settings) as cluster:
        path = await open_path("tickets", settings, store, cluster=cluster)
        try:
            done = await batch(Path(source), Path(out), path, store)
        finally:
            await close_path(path)
    print(done.failed)

asyncio.run(main(*sys.argv[1:]))
"""


def text(chance, number, words):
    label = chance.choice(sorted(WORDS))
    return label, " ".join(chance.choice(WORDS[label] + FILLING * 2) for _ in range(words)) + f" {number}"


def ran(*words):
    return subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True, timeout=200)


def insource(home, *words, status=0):
    done = ran("-m", "insource", "-C", str(home), *words)
    assert done.returncode == status, done.stderr
    return done


def documents(file, count, words=12, seed=2):
    chance = random.Random(seed)  # noqa: S311 no secret
    rows = [{"id": f"d{i}", "input": text(chance, i, words)[1]} for i in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def answers(file):
    """What came of the documents, without what is another at each run."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return digest([[row[key] for key in ("id", "output", "confidence", "decision", "error")] for row in rows])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace with a live release and an embedded teacher; each test works on a copy of it."""
    root = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSOURCE_CACHE", str(root / "cache"))
        home, model = root / "home", root / "model"
        build(model, loud=5.0)
        insource(root, "init", str(home))
        with (home / "insource.toml").open("a") as file:
            file.write(CONFIG.format(here=own_address(), model=model))
        (home / "tasks" / "tickets.toml").write_text(TASK)
        chance = random.Random(1)  # noqa: S311 no secret
        rows = [text(chance, i, 12) for i in range(400)]
        (root / "rows.jsonl").write_text("".join(json.dumps({"input": t, "topic": y}) + "\n" for y, t in rows))
        insource(home, "models", "pull", f"file:{model}")
        insource(home, "collect", "tickets", str(root / "rows.jsonl"))
        insource(home, "train", "tickets", "--base", "linear")
        insource(home, "release", "gate", "tickets@1.0.0")
        insource(home, "release", "promote", "tickets@1.0.0", "--to", "live")
        yield home


@pytest.fixture(scope="module")
def cluster(home):
    """Three nodes with a cache of their own, as machines have that only share a cluster."""
    with nodes(3, inherited_environment() | {"INSOURCE_CACHE": str(home.parent / "nodes")}) as started:
        yield started


@pytest.fixture
def copy(home, tmp_path):
    def made(name):
        return shutil.copytree(home, tmp_path / name)

    return made


@pytest.mark.parametrize("address", ["address", "client"])
def test_a_batch_on_three_nodes_is_the_batch_on_this_machine(address, copy, cluster, home, tmp_path):
    source = documents(tmp_path / "in.jsonl", 1500)
    insource(copy("local"), "batch", "tickets", str(source), "--out", str(tmp_path / "local.jsonl"))
    there = ("--out", str(tmp_path / "there.jsonl"), "--ray", getattr(cluster, address), "--json")
    done = insource(copy("there"), "batch", "tickets", str(source), *there)
    assert json.loads(done.stdout)["rows"] == 1500
    assert answers(tmp_path / "there.jsonl") == answers(tmp_path / "local.jsonl")
    sent = [path for path in (home.parent / "nodes" / "ray").iterdir() if len(path.name) == 64]
    assert len(sent) == 1
    assert "Ray cluster" in (tmp_path / "there" / ".insource" / FILE).read_text()


def test_a_node_that_comes_takes_work_and_one_that_is_killed_loses_nothing(copy, cluster, tmp_path):
    source = documents(tmp_path / "in.jsonl", 4000, words=300)
    insource(copy("local"), "batch", "tickets", str(source), "--out", str(tmp_path / "local.jsonl"))
    out, part = tmp_path / "there.jsonl", tmp_path / "there.jsonl.part"
    words = ("batch", "tickets", str(source), "--out", str(out), "--ray", cluster.address, "--json")
    command = [sys.executable, "-m", "insource", "-C", str(copy("there")), *words]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(what, seconds=60):
        end = time.monotonic() + seconds
        while not what():
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)

    until(lambda: part.exists() and part.read_bytes().count(b"\n") > 200)
    cluster.add()
    until(lambda: cluster.actors(3))
    done = part.read_bytes().count(b"\n")
    cluster.kill(1)
    said, told = run.communicate(timeout=150)
    assert run.returncode == 0, told
    assert done < 4000
    assert json.loads(said)["answered"] + json.loads(said)["review"] == 4000
    assert "requests are asked again" in told
    assert answers(out) == answers(tmp_path / "local.jsonl")


def test_a_document_that_ends_its_actor_fails_alone(copy, cluster, tmp_path):
    source = documents(tmp_path / "in.jsonl", 300)
    lines = source.read_text().splitlines()
    lines[100] = json.dumps({"id": "bad", "input": "poison"})
    source.write_text("\n".join(lines) + "\n")
    words = [str(copy("there")), str(source), str(tmp_path / "out.jsonl"), cluster.address]
    done = ran("-c", CURSED, *words)
    assert done.stdout == "1\n", done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 300
    assert [row["id"] for row in rows if row["error"]] == ["bad"]
    assert "3 machines were lost" in rows[100]["error"]


def test_an_embedded_teacher_says_on_the_nodes_what_it_says_here(copy, cluster, home, tmp_path):
    chance = random.Random(3)  # noqa: S311 no secret
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"input": text(chance, f"pool {i}", 9)[1]}) + "\n" for i in range(60)))
    taught = {}
    for name, where in (("local", ()), ("there", ("--ray", cluster.address))):
        place = copy(name)
        insource(place, "collect", "tickets", str(pool), "--unlabelled")
        done = insource(place, "teach", "tickets", "--teacher", "small", "--sure", "0", "--yes", "--json", *where)
        taught[name] = json.loads(done.stdout)
    assert sum(taught["local"]["became"].values()) == 60
    assert taught["there"]["became"] == taught["local"]["became"]
    assert taught["there"]["dataset"] == taught["local"]["dataset"]
    assert any((path / "model").is_dir() for path in (home.parent / "nodes" / "ray").iterdir())


def test_where_no_cluster_is_it_says_so_soon(copy, tmp_path):
    source, place = documents(tmp_path / "in.jsonl", 3), copy("none")
    with socket.create_server((own_address(), 0)) as mute, socket.create_server((own_address(), 0)) as gone:
        addresses = [f"{own_address()}:{one.getsockname()[1]}" for one in (mute, gone)]
        gone.close()
        for address, within in zip(addresses, (40, 15), strict=True):
            began = time.monotonic()
            words = ("--out", str(tmp_path / "out.jsonl"), "--ray", address, "--json")
            done = insource(place, "batch", "tickets", str(source), *words, status=4)
            assert time.monotonic() - began < within
            assert json.loads(done.stdout)["error"]["code"] == "engine_down"
            assert "ray start" in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
