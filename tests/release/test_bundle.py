"""A release as one file: the same bytes each time, all of it checked before any of it is used, no network needed."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
from bundle_parts import home, released, written
from release_parts import keep_rows, rows

import insource
from insource.cli.release_words import bundle_words
from insource.errors import Conflict, Invalid, Missing, Refused
from insource.journeys.edge import install
from insource.journeys.promote import promote
from insource.journeys.serve import close_path, open_path
from insource.nouns import Output, Risk, Scan, ScanPolicy, Task, Tightening, digest, from_json
from insource.release.bundle import Bundle
from insource.release.task_file import task_files
from insource.settings import inherited_environment, load_settings, load_task, task_file
from insource.store import Store


def members(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as opened:
        return opened.namelist()


# ------------------------------------------------------------------ out


async def test_the_same_release_gives_the_same_bytes_and_the_texts_of_its_rows_stay(tmp_path):
    settings = home(tmp_path)
    async with await Store.open(settings) as store:
        release = await released(settings, store, live=False)
        (tmp_path / "a.bundle.part").write_text("mine")
        first = await written(settings, store, release, tmp_path / "a.bundle")
        assert (tmp_path / "a.bundle.part").read_text() == "mine"
        for path in (settings.state / release.folder).rglob("*"):
            os.utime(path, (1, 1))
        await promote(release, settings, store)
        release = await store.release("defects", "1.0.0")
        assert release.approved_by, "who approved it at home is not part of it"
        second = await written(settings, store, release, tmp_path / "b.bundle")
        text = rows()[3].input  # a dev row
        assert text.encode() in (settings.state / release.folder / "trainer.jsonl").read_bytes()
    data = (tmp_path / "a.bundle").read_bytes()
    assert data == (tmp_path / "b.bundle").read_bytes()
    assert first.sha256 == second.sha256 == digest(data)
    assert first.left == ("trainer.jsonl", "tier2")
    assert text.encode() not in data
    with zipfile.ZipFile(tmp_path / "a.bundle") as opened:
        assert opened.testzip() is None
        assert {info.compress_type for info in opened.infolist()} == {zipfile.ZIP_STORED}
        head = from_json(opened.read("bundle.json"), Bundle)
        assert all(digest(opened.read(name)) == member.sha256 for name, member in head.members.items())
        assert ["bundle.json", *head.members] == opened.namelist()
    assert head.task.risk.otherwise == ("review",)
    assert head.threshold is not None
    assert head.needs == "insource[data]"


async def test_a_file_in_a_folder_that_is_not_there_names_the_folder(tmp_path):
    settings = home(tmp_path)
    async with await Store.open(settings) as store:
        release = await released(settings, store, live=False)
        with pytest.raises(Missing, match=r"there is no folder .*nodir"):
            await written(settings, store, release, tmp_path / "nodir" / "x.bundle")


async def test_what_is_to_be_typed_there_can_be_pasted(tmp_path):
    settings = home(tmp_path)
    async with await Store.open(settings) as store:
        made = await written(settings, store, await released(settings, store), tmp_path / "a.bundle")
    last = bundle_words(made).splitlines()[-1]
    assert last == f"insource init DIR --bundle {tmp_path / 'a.bundle'} --sha256 {made.sha256}"


async def test_only_what_passed_its_gate_and_is_whole_leaves(tmp_path):
    settings = home(tmp_path)
    async with await Store.open(settings) as store:
        release = await released(settings, store, live=False)
        unasked = msgspec.structs.replace(release, version="9.0.0")
        with pytest.raises(Conflict, match="has not been through the gate"):
            await written(settings, store, unasked, tmp_path / "x.bundle")
        (tmp_path / "there.bundle").write_bytes(b"")
        with pytest.raises(Conflict, match="exists already"):
            await written(settings, store, release, tmp_path / "there.bundle")
        path = settings.state / release.folder / "linear.json"
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(Refused, match=r"linear\.json was changed"):
            await written(settings, store, release, tmp_path / "x.bundle")
    assert not list(tmp_path.glob("x.bundle*"))


@pytest.mark.parametrize(
    "task",
    [
        Task(name="t", kind="extract", metric="f1", schema={"type": "object", "properties": {"a": {"enum": [None]}}}),
        Task(name="t", kind="generate", metric="exact", sensitivity=("eu", "us"), risk=Risk(threshold=1e-05)),
        Task(
            name="t", kind="generate", metric="exact",
            scan=Scan(
                input=ScanPolicy(actions={"own_term": "block", "email": "redact"}),
                output=ScanPolicy(actions={"card": "review"}), own_terms=("R&D", 'the "big" one'), restore=False,
            ),
        ),
        Task(
            name="t", kind="classify", metric="accuracy", owner='q"\\', instruction='say "x"\n\x7f\ttwice é\u2028',
            outputs=(
                Output(name="a b", labels=("x ", "\\", '"')), Output(name="ä", labels=("a / b", "c"), taxonomy=True),
            ),
            acceptance={"a b.accuracy": 0.5, "p95_ms": 250.0}, risk=Risk(max_error=0.05, otherwise=()),
        ),
    ],
    ids=["extract", "generate", "scanned", "classify"],
)  # fmt: skip
def test_a_task_survives_its_own_file(task, tmp_path):
    for place, text in task_files(task).items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text, "utf-8")
    (tmp_path / "insource.toml").write_text("")
    assert load_task(load_settings(tmp_path), "t") == task


async def test_limits_beside_the_task_go_along_and_a_broken_promise_is_known_there(tmp_path):
    settings = home(tmp_path)
    async with await Store.open(settings) as store:
        release = await released(settings, store)
        (file,) = (tmp_path / "tasks").glob("*.toml")
        task = load_task(settings, file.stem)
        limits = f"out_of_scope = 0.05\naudit = 0.01\nfields = {{ {task.fields[0]} = 0.02 }}\n"
        file.write_text(file.read_text().replace("[risk]\n", f"[risk]\n{limits}"))
        said = {"release": release.name, "max_error": task.risk.max_error, "who": "t", "why": "t"}
        await store.tighten(Tightening(threshold=0.9999, before=0.5, **said))
        made = await written(settings, store, release, tmp_path / "a.bundle")
    away = tmp_path / "away"
    found = await install(tmp_path / "a.bundle", away, sha256=made.sha256)
    risk = task_file(load_settings(away), task.name)[1].risk
    assert (risk.out_of_scope, risk.audit, risk.fields) == (0.05, 0.01, {task.fields[0]: 0.02})
    assert (found.threshold, risk.threshold) == (0.9999, 0.9999)


def test_a_task_that_no_file_can_spell_is_refused():
    labels = Output(name="a", labels=("x\x1b[2J", "y"))
    with pytest.raises(Invalid, match="cannot be written as a file"):
        task_files(Task(name="t", kind="classify", metric="accuracy", outputs=(labels,)))


# ------------------------------------------------------------------ in

GUARD = """
import sys
def guard(event, arguments):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"the network was touched: {event} {arguments[1:]}")
sys.addaudithook(guard)
"""


def offline(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """`insource words`, where the network is forbidden to Python and, if the system lets us, is not there at all."""
    (folder / "sitecustomize.py").write_text(GUARD)
    source = Path(insource.__file__).parents[1]
    env = inherited_environment() | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(source)]), "INSOURCE_CACHE": str(folder / "no-models"),
    }  # fmt: skip
    alone = ["unshare", "--net", "--map-root-user"]
    able = subprocess.run([*alone, "true"], capture_output=True, check=False).returncode == 0
    command = [*(alone if able else []), sys.executable, "-m", "insource", *words]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_answers_where_there_is_no_network(made, tmp_path):
    done = offline(tmp_path, "init", "kiosk", "--bundle", str(made), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["release"] == "defects@1.0.0"
    said = offline(tmp_path, "-C", "kiosk", "answer", "defects", "--input", "oil leak at the seal on line 3", "--json")
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert (answer["output"], answer["release"]) == ({"category": "leak"}, "defects@1.0.0")
    for words in (("release", "verify", "defects"), ("status",), ("review", "defects")):
        done = offline(tmp_path, "-C", "kiosk", *words)
        assert done.returncode == 0, done.stderr


def test_the_guard_of_the_test_above_sees_the_network(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
    env = inherited_environment() | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "the network was touched" in done.stderr


async def test_there_it_answers_what_it_answered_here_under_the_same_policy(made, tmp_path):
    place = load_settings(made.parent)
    texts = [row.input for row in rows(40, seed=9)]
    async with await Store.open(place) as store:
        here = await open_path("defects", place, store)
        expected = [(p.value, p.confidence) for p in await answers(here, texts)]
    await install(made, tmp_path)
    settings = load_settings(tmp_path)
    async with await Store.open(settings) as store:
        there = await open_path("defects", settings, store)
        assert [(p.value, p.confidence) for p in await answers(there, texts)] == expected
        changes = await store.stage_changes("defects")
    assert there.threshold == here.threshold
    assert not there.refused
    assert (changes[-1].after, changes[-1].evidence != "", "bundle" in changes[-1].why) == ("live", True, True)
    await close_path(here)
    await close_path(there)


async def answers(path, texts):
    from insource.nouns import ask

    return [await path.tiers[0].engine.complete(ask(path.task, text, id=str(i))) for i, text in enumerate(texts)]


async def test_a_digest_that_is_none_is_said_and_nothing_is_made(made, tmp_path):
    with pytest.raises(Invalid, match="'0000' is no SHA-256"):
        await install(made, tmp_path / "kiosk", sha256="0000")
    assert not (tmp_path / "kiosk").exists()


async def test_twice_changes_nothing_and_mends_what_was_damaged(made, tmp_path):
    await install(made, tmp_path)
    settings = load_settings(tmp_path)
    words = settings.state / "releases/defects/1.0.0/linear.json"
    whole = words.read_bytes()
    words.write_bytes(b"{}")
    await install(made, tmp_path)
    assert words.read_bytes() == whole
    async with await Store.open(settings) as store:
        assert len(await store.releases("defects")) == len(await store.gates("defects@1.0.0")) == 1
        assert len(await store.stage_changes("defects")) == 1
    assert {path.name for path in words.parent.parent.iterdir()} == {"1.0.0"}


async def test_a_newer_bundle_takes_over_and_a_policy_changed_there_is_kept_beside_it(made, tmp_path):
    root = tmp_path / "home"
    settings = home(root)
    async with await Store.open(settings) as store:
        await released(settings, store)
        old = await written(settings, store, await store.release("defects", "1.0.0"), tmp_path / "old")
        await released(settings, store)
        new = await written(settings, store, await store.release("defects", "1.1.0"), tmp_path / "new")
    kiosk = tmp_path / "kiosk"
    await install(Path(old.file), kiosk)
    policy = kiosk / "tasks" / "defects.toml"
    policy.write_text(policy.read_text().replace("max_error = 0.1", "max_error = 0.5"))
    said = await install(Path(new.file), kiosk)
    assert (said.release, said.replaced) == ("defects@1.1.0", "defects@1.0.0")
    assert "max_error = 0.5" in Path(said.kept).read_text()
    assert "max_error = 0.1" in policy.read_text()
    assert load_task(load_settings(kiosk), "defects").risk.max_error == 0.1


async def test_a_workspace_that_has_its_own_rows_takes_no_bundle(made, tmp_path):
    settings = home(tmp_path)
    async with await Store.open(settings) as store:
        await keep_rows(store, rows())
    before = (tmp_path / "tasks" / "defects.toml").read_bytes()
    with pytest.raises(Conflict, match="has rows of defects"):
        await install(made, tmp_path)
    assert (tmp_path / "tasks" / "defects.toml").read_bytes() == before


async def test_another_release_of_the_same_name_is_refused(made, tmp_path):
    settings = home(tmp_path / "other")
    async with await Store.open(settings) as store:
        release = await released(settings, store)
        manifest = settings.state / release.folder / "manifest.json"
        manifest.write_bytes(manifest.read_bytes() + b"\n")
        gate = msgspec.structs.replace((await store.gates(release.name))[-1], artefact=digest(manifest.read_bytes()))
        await store.save_gate(gate)
        other = msgspec.structs.replace(release, artefact=gate.artefact)
        file = await written(settings, store, other, tmp_path / "other.bundle")
    await install(made, tmp_path / "kiosk")
    with pytest.raises(Conflict, match="is here with another artefact"):
        await install(Path(file.file), tmp_path / "kiosk")
