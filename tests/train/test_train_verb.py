"""`insource train` as a person types it: stopped with Ctrl-C, out of disk, with a base that is not there."""

import asyncio
import csv
import json
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from shutil import copytree

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from command_line import started
from insource.nouns import Output, Task

TASK = """name = "defects"
kind = "classify"
[outputs.category]
labels = ["heat", "leak", "noise"]
[acceptance]
accuracy = 0.5
"""
pytestmark = pytest.mark.usefixtures("own_cache")

LONG = "epochs = 100\npatience = 100\nbatch = 8\nrank = 4\n"
SHORT = "epochs = 1\nbatch = 16\nrank = 4\n"


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("base"))


@pytest.fixture
def plant(collected: Path, tmp_path: Path) -> Path:
    return copytree(collected, tmp_path / "plant")


@pytest.fixture(scope="session")
def collected(tmp_path_factory) -> Path:
    """A workspace with a data set; every test has a copy."""
    home = tmp_path_factory.mktemp("collected") / "plant"
    (home / "tasks").mkdir(parents=True)
    (home / "insource.toml").write_text("[workspace]\nthreads = 1\n")
    (home / "tasks" / "defects.toml").write_text(TASK)
    task = Task(name="defects", kind="classify", outputs=(Output(name="category", labels=("heat", "leak", "noise")),))
    with (home / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "category"))
        writer.writerows(
            (f"{row.input} no {i}", row.target["category"]) for i, row in enumerate(tiny.rows(task, 600, "x"))
        )
    done = insource(home, "collect", "defects", str(home / "rows.csv"), "--input", "text", "--target", "category")
    assert done.returncode == 0, done.stderr
    return home


def insource(home: Path, *words: str, **how) -> subprocess.CompletedProcess:
    process = started(home, *words, **how)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def releases(home: Path) -> list:
    found = json.loads(insource(home, "release", "list", "--json").stdout)
    return found["releases"]


def stopped(process: subprocess.Popen, moment: str) -> str:
    """What was said until the end, after a Ctrl-C at the line that holds `moment`."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if moment in line:
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=60)
    assert moment in seen, seen + rest
    return rest


@pytest.mark.slow
@pytest.mark.parametrize("runs", [1, 2])
def test_ctrl_c_in_the_middle_of_training_ends_it_at_once_and_the_same_command_goes_on(
    plant: Path, base: Path, runs: int
) -> None:
    (plant / "insource.toml").write_text(f"[workspace]\nthreads = {runs}\n")
    (plant / "recipe.toml").write_text(LONG + f"runs = {runs}\n")
    words = ("train", "defects", "--base", f"file:{base}", "--recipe", str(plant / "recipe.toml"))
    process = started(plant, *words)
    said = stopped(process, "training, loss")
    assert process.returncode == 130, said
    assert "stopped; nothing half-written" in said
    assert "Traceback" not in said
    assert releases(plant) == []
    (plant / "recipe.toml").write_text(SHORT)
    done = insource(plant, *words)
    assert done.returncode == 0, done.stderr
    assert "defects@1.0.0 is a candidate" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "moment"),
    [
        (("measure", "defects", "--candidate", "zero-shot:file:{base}", "--rows", "500"), "zero-shot"),
        (("measure", "defects", "--candidate", "baseline"), "baseline"),
        (("release", "gate", "defects@1.0.0"), "served"),
    ],
)
def test_ctrl_c_while_it_measures_or_gates_ends_with_130_and_keeps_nothing(
    plant: Path, base: Path, verb: tuple[str, ...], moment: str
) -> None:
    assert insource(plant, "train", "defects", "--base", "linear").returncode == 0
    process = started(plant, *[word.format(base=base) for word in verb])
    said = stopped(process, moment)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not list((plant / ".insource").rglob("*.part"))
    assert not list((plant / ".insource" / "reports").rglob("*.html"))
    assert releases(plant)[0]["stage"] == "candidate"


@pytest.mark.slow
@pytest.mark.parametrize("limit", [60_000, 160_000])
def test_a_disk_that_takes_no_more_is_said_and_no_release_is_made(plant: Path, base: Path, limit: int) -> None:
    (plant / "recipe.toml").write_text(SHORT)
    words = ("train", "defects", "--base", f"file:{base}", "--recipe", str(plant / "recipe.toml"))
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
    done = insource(plant, *words, preexec_fn=full)
    assert done.returncode == 4, done.stderr
    assert "error:" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert releases(plant) == []
    again = insource(plant, *words)
    assert again.returncode == 0, again.stderr
    assert insource(plant, "release", "verify", "defects@1.0.0").returncode == 0


def test_a_base_or_recipe_that_is_not_there_is_named_with_a_next_step(plant: Path) -> None:
    for words, said in (
        (("--base", "smolm2-135m"), "smollm2-135m"),
        (("--base", "file:/nowhere"), "/nowhere"),
        (("--recipe", "/nowhere.toml"), "/nowhere.toml"),
    ):
        done = insource(plant, "train", "defects", *words)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert releases(plant) == []


async def test_a_release_that_could_not_be_registered_is_not_in_the_way_of_the_next(plant, monkeypatch):
    from insource.errors import StoreError
    from insource.journeys.train import train
    from insource.settings import load_settings, load_task
    from insource.store import Store

    settings = load_settings(plant)
    task = load_task(settings, "defects")

    async def full(*_):
        raise StoreError("the disk is full")

    async with await Store.open(settings) as store:
        with monkeypatch.context() as patched:
            patched.setattr(store, "add_release", full)
            with pytest.raises(StoreError):
                await train(task, settings, store, base="linear")
        assert list((settings.state / "releases" / "defects").iterdir()) == []
        made = await train(task, settings, store, base="linear")
        assert made.version == "1.0.0"
        (settings.state / "releases" / "defects" / "1.1.0").mkdir()  # as a kill between the two steps leaves it
        again = await train(task, settings, store, base="linear")
        assert (again.version, again.artefact) == ("1.2.0", made.artefact)
        assert "- artefact: the one of defects@1.0.0, to the byte: it answers nothing otherwise" in again.changelog
        assert "artefact" not in made.changelog


async def test_two_trainings_of_a_task_at_once_would_end_each_other_so_the_second_is_refused(plant):
    from insource.errors import Conflict
    from insource.journeys.train import train
    from insource.settings import load_settings, load_task
    from insource.store import Store

    settings = load_settings(plant)
    task = load_task(settings, "defects")
    async with await Store.open(settings) as store:
        both = [train(task, settings, store, base="linear") for _ in range(2)]
        done = await asyncio.gather(*both, return_exceptions=True)
        assert [type(one) for one in done if isinstance(one, Exception)] == [Conflict]
        assert [release.version for release in await store.releases("defects")] == ["1.0.0"]
