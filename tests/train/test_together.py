"""What the parent of a training hears from its ranks, played by processes of a few lines."""

import sys
import time
from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")

from insource.engines.local import LocalModel  # noqa: E402
from insource.errors import EngineDown, Invalid  # noqa: E402
from insource.nouns import Output, Task  # noqa: E402
from insource.train import together as ranks  # noqa: E402
from insource.train.course import Order  # noqa: E402
from insource.train.loop import Voice  # noqa: E402
from insource.train.recipe import Recipe  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import tiny  # noqa: E402

TASK = Task(name="defects", kind="classify", outputs=(Output(name="category", labels=("heat", "leak", "noise")),))
BEGIN = "import sys, time; sys.stdin.readline()\ndef tell(word): print(word, flush=True)\n"
WAITS = "time.sleep(60)"
MADE = 'tell(\'{"made": {"n": 1}}\')'


@pytest.fixture
def order(tmp_path) -> Order:
    (tmp_path / "a").mkdir()
    base = LocalModel(name="tiny", folder=tmp_path / "base", sha256="0" * 64)
    rows = tiny.rows(TASK, 40, "train"), tiny.rows(TASK, 10, "dev")
    return Order(task=TASK, train=rows[0], dev=rows[1], base=base, recipe=Recipe(devices=2), folder=tmp_path / "a")


@pytest.fixture
def play(order, monkeypatch):
    """Runs the given lines as ranks 0 and 1, and says how long it took to come to an end."""
    found = []

    class Child(ranks._Child):
        def __init__(self, *what) -> None:
            super().__init__(*what)
            found.append(self.process)

    def played(*scripts: str, say=lambda _: None):
        monkeypatch.setattr(ranks, "_Child", Child)
        monkeypatch.setattr(ranks, "GRACE_S", 0.5)
        monkeypatch.setattr(ranks, "_command", lambda number: [sys.executable, "-c", BEGIN + scripts[number]])
        begun = time.monotonic()
        try:
            return ranks.together(order, Voice(say, lambda *_: None))
        finally:
            assert time.monotonic() - begun < 30
            assert [process.poll() is not None for process in found] == [True, True]

    return played


def test_an_order_is_read_as_it_was_given(order):
    assert ranks.told(msgspec.json.encode(order, enc_hook=str)) == order


def test_a_rank_that_is_done_waits_for_nobody_while_the_first_still_writes(play):
    said: list[str] = []
    made = play('tell(\'{"say": "hello"}\'); time.sleep(2); ' + MADE, "", say=said.append)
    assert made == {"n": 1}
    assert said == ["hello"]


def test_a_first_rank_that_stands_still_as_it_writes_is_not_waited_for_without_end(play, monkeypatch):
    monkeypatch.setattr(ranks, "WRITES_S", 1.0)
    with pytest.raises(EngineDown, match="rank 0 does not answer"):
        play(WAITS, "")


def test_a_rank_that_fails_is_told_with_its_last_words_and_the_others_end(play):
    with pytest.raises(EngineDown, match="over 2 devices ended: rank 1 ended with exit status 3: no memory"):
        play(WAITS, "sys.stderr.write('much\\nno memory\\n\\n'); sys.exit(3)")


def test_what_a_rank_says_last_moves_no_cursor(play):
    with pytest.raises(EngineDown, match=r"exit status 3:  \[2Jgone$"):
        play(WAITS, "sys.stderr.write('\\x1b[2Jgone\\n'); sys.exit(3)")


@pytest.mark.parametrize("failing", [0, 1])
def test_who_failed_is_told_and_not_who_missed_it(play, failing):
    scripts = ["sys.stderr.write('connection closed'); sys.exit(75)"] * 2
    scripts[failing] = "time.sleep(0.2); import os; os.kill(os.getpid(), 9)"
    with pytest.raises(EngineDown, match=f"rank {failing} was ended by SIGKILL"):
        play(*scripts)


def test_a_rank_that_is_killed_in_the_middle_of_a_word_is_heard_to_end(play):
    with pytest.raises(EngineDown, match="rank 0 was ended by SIGKILL"):
        play('import os; os.write(1, b\'{"say": "hel\'); os.kill(os.getpid(), 9)', WAITS)


def test_who_stands_still_is_told(play):
    with pytest.raises(EngineDown, match="rank 1 does not answer"):
        play("sys.exit(75)", WAITS)


def test_who_stands_still_before_it_read_a_long_order_is_told(play, order, monkeypatch):
    rows = [msgspec.structs.replace(row, input=row.input * 500) for row in order.train]
    assert sum(len(row.input) for row in rows) > 2**17, "more than a pipe holds"
    long = msgspec.structs.replace(order, train=rows)
    together = ranks.together
    monkeypatch.setattr(ranks, "together", lambda _, voice: together(long, voice))
    monkeypatch.setattr(sys.modules[__name__], "BEGIN", "import sys, time\n")
    with pytest.raises(EngineDown, match="rank 1 does not answer"):
        play("sys.exit(75)", WAITS)


def test_what_a_library_prints_is_no_word(play):
    assert play("print('loading plugin', flush=True); " + MADE, "") == {"n": 1}


def test_one_that_only_prints_is_heard_to_end(play):
    with pytest.raises(EngineDown, match="rank 0 ended with exit status 0"):
        play("print('loading plugin', flush=True)", WAITS)


def test_when_all_lost_each_other_the_words_of_one_are_told(play):
    with pytest.raises(EngineDown, match="its ranks lost each other: no route"):
        play(*["sys.stderr.write('no route'); sys.exit(75)"] * 2)


def test_a_first_rank_that_ends_without_a_word_is_no_success(play):
    with pytest.raises(EngineDown, match="rank 0 ended with exit status 0"):
        play("", WAITS)


@pytest.mark.parametrize("number", [0, 1])
def test_an_error_of_ours_stays_one(play, number):
    fault = ranks.Word(fault=ranks.Fault.of(Invalid("too few rows", hint="collect more", at="x")))
    line = msgspec.json.encode(fault).decode()
    scripts = [WAITS, WAITS]
    scripts[number] = f"tell({line!r}); sys.exit(1)"
    with pytest.raises(Invalid, match="too few rows") as caught:
        play(*scripts)
    assert (caught.value.hint, caught.value.at) == ("collect more", "x")


def test_ctrl_c_ends_the_ranks(play):
    def enough(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play('tell(\'{"say": "hello"}\'); ' + WAITS, WAITS, say=enough)
