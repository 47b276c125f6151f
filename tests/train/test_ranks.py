"""Training over several processes: the weights of one, resumed like one, and whatever ends a rank ends all of them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import test_train as plain
import tiny

from insource.engines.artefact import file_digests
from insource.errors import EngineDown, Invalid, StoreError
from insource.nouns import from_json
from insource.train.recipe import Recipe, derive, dials

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
base = plain.base
BOTH = Recipe(epochs=2, batch=60, learning_rate=1e-3, rank=4, patience=6, devices=2)
TRAINED = ("model/model.safetensors", "adapter/adapter_model.safetensors", "adapter/label_rows.safetensors")
LOOPBACK = "0100007F"
LONG = msgspec.structs.replace(BOTH, epochs=100, patience=100)


def fitted(base, folder, recipe=BOTH, *, threads=2, progress=lambda *_: None):
    """What came of it, and each step's loss."""
    from insource.train.fit import fit
    from insource.train.loop import Voice

    folder.mkdir(parents=True, exist_ok=True)
    losses: list[float] = []

    def heard(what: str, done: int, total: int) -> None:
        losses.append(float(what.rpartition(" ")[2]))
        progress(what, done, total)

    splits = tiny.rows(plain.TWO, 240, "train"), tiny.rows(plain.TWO, 60, "dev")
    said: list[str] = []
    made = fit(plain.TWO, splits, base, recipe, folder, voice=Voice(said.append, heard, threads))
    return made, losses, said


def labels(folder):
    return [from_json(line, dict)["value"] for line in (folder / "trainer.jsonl").read_bytes().splitlines()]


def digests(folder):
    found = file_digests(folder)
    return [found[name] for name in TRAINED]


@pytest.fixture
def children(monkeypatch):
    """The ranks of the runs to come, in the order in which they are started."""
    from insource.train import together

    found = []

    class Child(together._Child):
        def __init__(self, *what) -> None:
            super().__init__(*what)
            found.append(self.process)

    monkeypatch.setattr(together, "_Child", Child)
    return found


@pytest.fixture
def threads():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def listening(processes) -> list[str]:
    """The addresses that these listen on, as the kernel of Linux writes them; none elsewhere."""
    found = []
    for process in processes if sys.platform == "linux" else ():
        fds = Path(f"/proc/{process.pid}/fd")
        sockets = {str(fd.readlink()) for fd in fds.iterdir() if fd.is_symlink()}
        for line in (Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()).splitlines():
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found.append(words[1].rpartition(":")[0])
    return found


@pytest.mark.slow
def test_two_ranks_take_the_steps_of_one(base, tmp_path, threads, children):
    heard: list[str] = []

    def look(_: str, done: int, __: int) -> None:
        heard.extend(listening(children) if done == 2 else ())

    made, losses, said = fitted(base, tmp_path / "two" / "artefact", progress=look)
    assert set(heard) <= {LOOPBACK}, "they listen to nobody else"
    assert len(heard) == 2 or sys.platform != "linux"
    one, before, _ = fitted(base, tmp_path / "one" / "artefact", msgspec.structs.replace(BOTH, devices=1))
    assert len(losses) == len(before) == 8
    assert losses == pytest.approx(before, rel=0.01)
    assert labels(tmp_path / "two" / "artefact") == labels(tmp_path / "one" / "artefact")
    assert made.recipe["devices"] == 2
    assert "devices" not in one.recipe, "what one device trained is written as it ever was"
    assert {**made.recipe, "devices": 1} == {**one.recipe, "devices": 1}
    assert "2 processes, each with 1 thread" in said[0]
    assert not (tmp_path / "two" / "ranks").exists()


SUMS = """
    import json, sys
    sys.path[:0] = [{here!r}]
    import test_train as t, tiny
    import torch
    from pathlib import Path
    from insource.engines.local import LocalModel
    from insource.train.course import Where
    from insource.train.gradient import Gradient
    from insource.train.labels import Labelling
    from insource.train.ranks import Ranks, joined
    from insource.train.recipe import Recipe
    base = LocalModel(name="tiny", folder=Path({base!r}), sha256="0" * 64)
    course = Labelling(t.TWO, (tiny.rows(t.TWO, 48, "train"), tiny.rows(t.TWO, 7, "dev")), base, Recipe(rank=4))
    model = course.model(Where("cpu", torch.float32, 1))
    model.begin({number})
    def measured():
        found = []
        with Gradient(model) as gradient:
            for count in (48, 5, 3, 1):
                loss = gradient.of(course.data.rows[:count])
                found.append([loss, *(float(p.grad.double().square().sum()) for p in model.parameters)])
        return [*found, *(list(model.check(course.data.dev[:count]).values()) for count in (7, 1))]
    with joined(Ranks(number={number}, count=2), Path({place!r}), 60) as ranks:
        model.ranks = ranks
        ranks.begin(3, model.parameters)
        print(json.dumps(measured()))
    model.begin(0)
    model.ranks = Ranks()
    print(json.dumps(measured()))
"""


@pytest.mark.slow
def test_the_sum_over_ranks_is_the_whole_batchs_also_where_some_have_no_row(base, tmp_path):
    """In float32; the second rank begins elsewhere and is given the first one's tensors."""
    import textwrap

    told = [
        textwrap.dedent(
            SUMS.format(
                here=str(Path(__file__).parent), base=str(base.folder), place=str(tmp_path / "meet"), number=number
            )
        )
        for number in (0, 1)
    ]
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for code in told]
    outs = [process.communicate(timeout=120)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    (together, alone), (other, _) = [[json.loads(line) for line in out] for out in outs]
    assert other == together, "to the last bit, so that no rank goes its own way"
    for sums, whole in zip(together, alone, strict=True):
        assert sums == pytest.approx(whole, rel=1e-4, abs=1e-7)


def test_more_ranks_than_a_batch_has_rows_are_refused(base, tmp_path):
    with pytest.raises(Invalid, match="devices is 9, and a batch has 8 rows") as caught:
        derive(Recipe(batch=8, devices=9), [20] * 100)
    assert "set batch" in caught.value.hint
    assert derive(Recipe(batch=9, devices=9), [20] * 100).recipe.devices == 9


@pytest.mark.slow
def test_what_a_rank_refuses_is_refused_as_one_process_would(base, tmp_path, children):
    with pytest.raises(Invalid, match="devices is 2, and a batch has 1 rows"):
        fitted(base, tmp_path / "a", msgspec.structs.replace(BOTH, batch=1))
    assert all(child.poll() is not None for child in children)


def test_more_devices_than_gpus_are_refused(monkeypatch):
    import torch

    from insource.train.ranks import counted

    assert counted(Recipe(devices=0)).devices == 1, "no GPU here: one process"
    assert counted(Recipe(devices=3)).devices == 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert counted(Recipe(devices=0)).devices == 2
    with pytest.raises(Invalid, match="devices is 3, and this machine has 2 GPUs"):
        counted(Recipe(devices=3))


def test_the_recipe_of_one_device_has_the_digest_it_ever_had():
    assert "devices" not in dials(Recipe())
    assert list(dials(Recipe(devices=4)))[-3:] == ["devices", "label_names", "seed"]


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "late", "done"), [(1, 6, 4), (2, 13, 12)])
def test_killed_anywhere_it_resumes_to_the_same_weights(base, tmp_path, children, runs, late, done):
    recipe = msgspec.structs.replace(BOTH, runs=runs)
    _, whole, _ = fitted(base, tmp_path / "whole" / "artefact", recipe)
    folder = tmp_path / "killed" / "artefact"
    for at, victim in ((3, 0), (late, 1)):
        children.clear()

        def kill(_: str, step: int, __: int, at: int = at, victim: int = victim) -> None:
            if step == at:
                children[victim].kill()

        with pytest.raises(EngineDown, match=rf"over 2 devices ended: rank {victim} was ended by SIGKILL") as caught:
            fitted(base, folder, recipe, progress=kill)
        assert "goes on from the last checkpoint" in caught.value.hint
        assert all(child.poll() is not None for child in children)
    _, rest, _ = fitted(base, folder, recipe)
    assert rest == whole[done:], "it went on behind the last whole epoch"
    assert digests(folder) == digests(tmp_path / "whole" / "artefact")


@pytest.mark.slow
def test_a_rank_that_stands_still_ends_all_within_their_patience(base, tmp_path, children):
    from insource.train.course import Order
    from insource.train.loop import Voice
    from insource.train.together import together

    (tmp_path / "a").mkdir()
    rows = tiny.rows(plain.TWO, 240, "train"), tiny.rows(plain.TWO, 60, "dev")
    order = Order(
        task=plain.TWO,
        train=rows[0],
        dev=rows[1],
        base=base,
        recipe=LONG,
        folder=tmp_path / "a",
        threads=1,
        patience_s=5,
    )
    stopped: list[float] = []

    def stop(_: str, done: int, __: int) -> None:
        if done == 2:
            children[1].send_signal(signal.SIGSTOP)
            stopped.append(time.monotonic())

    with pytest.raises(EngineDown, match="rank 1 does not answer"):
        together(order, Voice(lambda _: None, stop))
    assert time.monotonic() - stopped[0] < 30
    assert all(child.poll() is not None for child in children)


@pytest.mark.slow
def test_a_rank_that_raises_says_its_last_words(base, tmp_path, children):
    broken = msgspec.structs.replace(base, folder=tmp_path / "base")
    (tmp_path / "base").mkdir()
    for file in base.folder.iterdir():
        (tmp_path / "base" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "base" / "tokenizer.json").write_text('{"not": "a tokenizer"}')
    with pytest.raises(EngineDown, match=r"rank [01] ended with exit status 1: .+"):
        fitted(broken, tmp_path / "a")


@pytest.mark.slow
def test_an_error_of_the_first_rank_is_the_users_error(base, tmp_path, children):
    def in_the_way(_: str, done: int, __: int) -> None:
        if done == 3:
            (tmp_path / "checkpoint.safetensors").mkdir()

    with pytest.raises(StoreError, match=r"checkpoint .* cannot be written"):
        fitted(base, tmp_path / "a", progress=in_the_way)
    assert all(child.poll() is not None for child in children)


@pytest.mark.slow
def test_an_extract_task_is_summed_by_its_tokens(tmp_path, threads):
    """A batch's answers are of other lengths on one rank than on the other: a mean of means would be another loss."""
    import test_extract as writing

    from insource.engines.local import LocalModel

    loud = LocalModel(name="tiny", folder=tiny.build(tmp_path / "base", loud=8), sha256="0" * 64)
    seen = {}
    for devices in (1, 2):
        recipe = msgspec.structs.replace(writing.SHORT, batch=30, learning_rate=1e-3, devices=devices)
        made, _ = writing.fitted(loud, tmp_path / str(devices) / "artefact", recipe)
        history = (tmp_path / str(devices) / "artefact" / "history.json").read_bytes()
        seen[devices] = [check["nll"] for check in from_json(history, dict)["checks"]]
        assert made.calibration is not None
    assert len(seen[1]) == 2
    assert seen[2] == pytest.approx(seen[1], rel=0.01)
