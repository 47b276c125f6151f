"""What is sent to a node opens there as the very same engine, and what is not the same is not opened."""

import asyncio
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from insource.engines import ray_cluster
from insource.engines.artefact import MANIFEST, Manifest, file_digests, write_manifest
from insource.engines.linear import Linear
from insource.engines.models import resolve
from insource.engines.ray_cluster import Machine, Reply
from insource.errors import Conflict, Missing, Refused
from insource.journeys.cluster_node import Node, Order
from insource.journeys.lineup import Lineup
from insource.journeys.on_cluster import model_there, release_there
from insource.journeys.opening import open_model
from insource.nouns import Example, Output, Release, Task, ask, digest, from_json, to_json
from insource.settings import Settings, WorkspaceSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from test_shared_base import TASKS, trained
from tiny import build

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b")),))
WORDS = ["beta", "alpha"]
ROWS = [
    Example(id=str(i), task="t", input=f"{WORDS[i % 2]} {i}", target={"label": "ba"[i % 2]}, split="train")
    for i in range(40)
]


class Called:
    """A method of an actor: `remote` runs it on the loop of the node's process."""

    def __init__(self, method, loop):
        self._method, self._loop = method, loop

    def remote(self, *given):
        return asyncio.run_coroutine_threadsafe(self._method(*given), self._loop)


class Elsewhere:
    """A cluster of one node that is a thread: what `Actors` asks of Ray, and nothing else of it."""

    lost = ConnectionError

    def __init__(self, spoil=lambda piece: piece):
        self._loop, self._spoil, self.sent = asyncio.new_event_loop(), spoil, []
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def machines(self):
        return [Machine("n" * 8, "127.0.0.1", 1, 0)]

    def pieces(self, packed, path):
        self.sent.append(path)
        return [self._spoil(piece) for piece in packed.pieces(path)]

    def actor(self, kind, machine, share):
        node = kind()

        class Handle:
            def __getattr__(self, name):
                return Called(getattr(node, name), loop)

        loop = self._loop
        return Handle()

    def get(self, reference, within_s):
        return reference.result(within_s)

    def kill(self, actor):
        """A thread is not ended."""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A workspace; the node has a cache of its own."""
    monkeypatch.setenv("INSOURCE_CACHE", str(tmp_path / "there"))
    return Settings(root=tmp_path / "home", cache=tmp_path / "here")


@pytest.fixture
def release(settings):
    folder = settings.state / "releases" / "t" / "1.0.0"
    folder.mkdir(parents=True)
    engine = Linear.fit(TASK, ROWS, ROWS, name="t@1.0.0", progress=lambda *_: None)
    engine.save(folder)
    asyncio.run(engine.close())
    manifest = Manifest(
        engine="linear", task=TASK, base="linear", base_digest="", dataset="", recipe={}, heads=(),
        files=file_digests(folder),
    )  # fmt: skip
    artefact = write_manifest(folder, manifest)
    return Release(
        task="t", version="1.0.0", engine="linear", base="linear", artefact=artefact, dataset="", recipe="",
        folder="releases/t/1.0.0", created="2026-01-01T00:00:00.000+00:00",
    )  # fmt: skip


def answers(engine, texts=("alpha 7", "beta 9", "neither")):
    async def all_of_them():
        asked = [ask(TASK, text, id=f"{i:032x}") for i, text in enumerate(texts)]
        said = await asyncio.gather(*[engine.complete(one) for one in asked])
        await engine.close()
        return [(one.text, one.confidence, one.alternatives, one.novelty, one.engine) for one in said]

    return asyncio.run(all_of_them())


def silent(*_):
    """No progress is shown."""


@pytest.fixture(autouse=True)
def awaits_a_thread(monkeypatch):
    """Ray's references can be awaited; those of a thread are wrapped."""

    async def ask_there(self, batch):
        return bytes(await asyncio.wrap_future(self._actor.answer.remote(batch)))

    monkeypatch.setattr(ray_cluster.Actor, "ask", ask_there)


def test_a_release_says_there_what_it_says_here_and_its_files_go_once(settings, release):
    local = answers(Lineup(settings, None, TASK).release(release))
    first, second = Elsewhere(), Elsewhere()
    assert answers(release_there(release, settings, first, silent)) == local
    assert answers(Lineup(settings, None, TASK, cluster=second).release(release)) == local
    assert {path.rpartition("/")[2] for path in first.sent} == {"linear.json", "linear.safetensors", MANIFEST}
    assert second.sent == []


@pytest.mark.slow
def test_an_embedded_model_says_there_what_it_says_here(settings, tmp_path):
    model = f"file:{build(tmp_path / 'model', loud=5.0)}"
    local = resolve(model, settings.cache, progress=silent)
    (tmp_path / "model" / "notes.md").write_text("lies beside it")
    there = Elsewhere()
    assert answers(model_there((local, "m", TASK), settings, there, silent)) == answers(open_model(local, "m", TASK, 0))
    assert not [path for path in there.sent if path.endswith("notes.md")]


@pytest.mark.slow
def test_a_specialist_that_shares_its_base_takes_it_along(settings, tmp_path):
    base = resolve(f"file:{build(tmp_path / 'model')}", settings.cache, progress=silent)
    folder = trained(TASKS["cause"], base, settings.state / "releases" / "cause" / "1.0.0")
    artefact = digest((folder / MANIFEST).read_bytes())
    release = Release(
        task="cause", version="1.0.0", engine="torch", base=base.name, artefact=artefact, dataset="", recipe="",
        folder="releases/cause/1.0.0",
    )  # fmt: skip
    shared = msgspec.structs.replace(settings, workspace=WorkspaceSettings(share_base=True))
    there, texts = Elsewhere(), ("oil leak at seal 3", "smell of burning")
    local = answers(Lineup(shared, None, TASKS["cause"]).release(release), texts)
    assert answers(release_there(release, shared, there, silent), texts) == local
    assert {path.split("/")[0] for path in there.sent} == {"state", "models"}


def test_what_came_otherwise_is_refused_there(settings, release):
    with pytest.raises(Refused, match="came otherwise") as told:
        release_there(release, settings, Elsewhere(lambda piece: piece[:-1] + b"x"), silent)
    assert "127.0.0.1" in str(told.value)


def test_an_artefact_that_was_changed_here_is_not_sent(settings, release):
    with (settings.state / release.folder / MANIFEST).open("a") as file:
        file.write(" ")
    there = Elsewhere()
    with pytest.raises(Refused, match="not the one that was released"):
        release_there(release, settings, there, silent)
    assert there.sent == []


def test_one_whose_manifest_does_not_fit_its_files_is_not_opened_there(settings, release):
    with (settings.state / release.folder / "linear.json").open("a") as file:
        file.write(" ")
    with pytest.raises(Refused, match="was changed"):
        release_there(release, settings, Elsewhere(), silent)


def test_a_specialist_that_shares_a_base_that_is_not_here_says_so_there(settings, release):
    folder = settings.state / release.folder
    manifest = msgspec.structs.replace(
        from_json((folder / MANIFEST).read_bytes(), Manifest), engine="torch", base="none"
    )
    torch = msgspec.structs.replace(release, engine="torch", artefact=write_manifest(folder, manifest))
    shared = msgspec.structs.replace(settings, workspace=WorkspaceSettings(share_base=True))
    with pytest.raises(Missing):
        release_there(torch, shared, Elsewhere(), silent)


def test_another_version_is_told_before_anything_is_sent():
    said = from_json(asyncio.run(Node().begin("9.9.9", to_json(Order(parcels=())))), Reply)
    assert isinstance(said.fault.error, Conflict)
    assert "9.9.9" in said.fault.message


def test_no_setting_and_no_key_is_in_an_order():
    assert set(Order.__struct_fields__) == {"parcels", "threads", "release", "share_base", "name", "task", "model"}
