"""What people declare lands in the task's file and nowhere else; rows and calls of the store decide with it."""

import asyncio
import json
import random
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "release"))
from release_parts import keep_rows, rows, workspace

from insource.cli.main import main
from insource.errors import Invalid
from insource.journeys.declared import declare, with_keys
from insource.journeys.suitability import suitability
from insource.nouns import Attempt, Decision, Prediction, Record, stamp
from insource.settings import load_task, task_file
from insource.store import Store

ALL = {"calls_per_day": "20000", "operator": "the team", "across_domains": "no", "changes_per_year": "2",
       "defined": "yes"}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return workspace(tmp_path)


def said(settings, *words, ends=0):
    done = CliRunner().invoke(main, ["-C", str(settings.root), "status", *words])
    assert done.exit_code == ends, done.output
    return done.stdout if ends == 0 else done.stderr


def verdict(settings, *words):
    return json.loads(said(settings, "defects", *words, "--json"))


def keep(settings, examples):
    async def work():
        async with await Store.open(settings) as store:
            await keep_rows(store, examples)

    asyncio.run(work())


def test_questions_are_answered_one_by_one_and_the_verdict_follows(settings):
    keep(settings, rows(600))
    found = verdict(settings, "--suitability")
    assert found["verdict"] == "open"
    assert found["shown"]["rows"] == 600
    asked = [ground["asks"] for ground in found["grounds"] if ground["weighs"] == "open"]
    given = [word for key in ALL for word in ("--answer", f"{key}={ALL[key]}") if key in asked]
    assert verdict(settings, *given)["verdict"] == "yes"
    file = task_file(settings, "defects")[1].suitability
    assert (file.calls_per_day, file.operator, file.across_domains) == (20_000, "the team", False)
    words = said(settings, "defects", "--answer", "calls_per_day=12", "--answer", "operator=nobody")
    assert "defects: not for a small model: 12 calls a day, and nobody to look after it" in words


def test_the_roadmap_asks_for_it_only_where_it_is_known_not_to_hold(settings):
    plain = said(settings, "defects")
    assert "suits     not known yet" in plain
    assert "✗ a task for a small model" not in plain
    assert "next: insource collect defects FILE" in plain
    said(settings, "defects", "--answer", "across_domains=yes")
    page = said(settings, "defects")
    assert "✗ a task for a small model" in page
    assert "next: insource status defects --suitability" in page
    (one,) = json.loads(said(settings, "--json"))["tasks"]
    assert one["next"]["command"].startswith("insource collect"), "of all tasks the rows are not read"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("creative=perhaps", "'perhaps' is no answer to creative"),
        ("calls_per_day=many", "'many' is no answer to calls_per_day"),
        ("calls_per_day=-1", "'-1' is no answer to calls_per_day"),
        ("calls_per_day=nan", "'nan' is no answer to calls_per_day"),
        ("operator=", "operator needs an answer"),
        ("budget=3", "'budget' is no question"),
        ("creative", "'creative' is no answer"),
    ],
)
def test_an_answer_that_is_none_changes_nothing(settings, answer, words):
    before = (settings.root / "tasks" / "defects.toml").read_bytes()
    assert words in said(settings, "defects", "--answer", "defined=yes", "--answer", answer, ends=2)
    assert (settings.root / "tasks" / "defects.toml").read_bytes() == before


def test_without_a_task_there_is_nothing_to_ask(settings):
    assert "of which task?" in said(settings, "--suitability", ends=2)
    assert "there is no task 'defect'" in said(settings, "defect", "--suitability", ends=2)


FILE = '# mine\nname = "t"\n\n[suitability] # said by us\ndefined = true\n# kept\n\n[risk]\naudit = 0.1\n'


def test_a_key_is_set_where_its_table_is_and_comments_stay():
    text = with_keys(FILE, "suitability", {"defined": False, "operator": 'a "b" \\ c\nd'})
    assert tomllib.loads(text)["suitability"] == {"defined": False, "operator": 'a "b" \\ c\nd'}
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# mine", "# kept"]
    assert text.endswith("[risk]\naudit = 0.1\n")
    assert with_keys(FILE.replace("\n", "\r\n"), "suitability", {"defined": False}).count("\r\n") == FILE.count("\n")


@given(
    st.dictionaries(st.sampled_from(["defined", "operator", "calls_per_day"]),
                    st.text(max_size=20) | st.booleans() | st.floats(0, 1e9), min_size=1),
    st.sampled_from([FILE, "", "a = 1", "a = 1\n\n", "[x]\ny = 2\n", "[suitability]", "[suitability]\n[z]\n"]),
)  # fmt: skip
def test_any_value_comes_back_and_nothing_else_changes(values, text):
    wanted = tomllib.loads(text)
    wanted["suitability"] = {**wanted.get("suitability", {}), **values}
    assert tomllib.loads(with_keys(text, "suitability", values)) == wanted


def test_a_file_that_cannot_be_changed_so_is_left_alone(settings):
    path = settings.root / "tasks" / "defects.toml"
    path.write_text("suitability = { defined = true }\n" + path.read_text())
    before = path.read_bytes()
    with pytest.raises(Invalid, match="cannot be written there") as caught:
        declare(settings, "defects", "suitability", {"defined": False})
    assert "defined = false" in caught.value.hint
    assert path.read_bytes() == before


def call(i, *, unknown, seconds):
    said = Prediction(text="", value={"category": "heat"}, engine="e", confidence=0.9, terms=(10, unknown, 0))
    attempt = Attempt(decision=Decision(engine="e", rule="task", accepted=True, reason="."), prediction=said)
    created = stamp(1_790_000_000 + i * seconds)
    return Record(id=f"{i:032x}", task="defects", release="defects@1.0.0", tenant="local", attempts=(attempt,),
                  outcome="answered", input_hash="", latency_ms=1.0, created=created)  # fmt: skip


@pytest.mark.parametrize(("late", "moved"), [(0, False), (4, True)])
def test_calls_say_how_many_come_and_whether_they_stay_as_they_were(settings, late, moved):
    """A call each ten minutes is 144 a day; of the newest fifth some words may be new."""
    rng = random.Random(1)  # noqa: S311 - calls, not secrets

    async def work():
        async with await Store.open(settings) as store:
            for i in range(600):
                new = late if i >= 480 else 0
                await store.append(call(i, unknown=min(10, rng.randint(0, 2) + new), seconds=600))
            return await suitability(load_task(settings, "defects"), settings, store)

    found = asyncio.run(work())
    assert found.shown.calls_per_day == pytest.approx(144, rel=0.01)
    assert found.shown.novelty.of == "calls"
    assert (found.shown.novelty.p <= 0.01) is moved
    (ground,) = [ground for ground in found.grounds if ground.rule == "novelty"]
    assert ground.weighs == ("care" if moved else "for")
    (volume,) = [ground for ground in found.grounds if ground.rule == "volume"]
    assert (volume.of, volume.weighs) == ("calls", "care")


def test_on_a_terminal_what_is_open_is_asked(settings):
    """A real terminal: its own pseudo terminal, a process of its own."""
    import os
    import pty
    import select
    import subprocess

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "insource", "-C", str(settings.root), "status", "defects", "--suitability"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as asked:
        os.close(theirs)
        heard = b""
        waiting = ["no", "no", "2", "5000", "me", "yes"]
        while select.select([ours], [], [], 60)[0]:
            try:
                heard += os.read(ours, 4096)
            except OSError:
                break
            if waiting and heard.rstrip().endswith(b":"):
                os.write(ours, f"{waiting.pop(0)}\n".encode())
                heard = b""
    assert asked.returncode == 0, heard
    assert b"for a small model" in heard
    file = task_file(settings, "defects")[1].suitability
    assert (file.operator, file.calls_per_day, file.defined) == ("me", 5000, True)
