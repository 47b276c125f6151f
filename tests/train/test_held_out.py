"""What a release said of the rows held out lies in its artefact as it would say it when it serves, without a text."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from test_train import TWO, base, sealed  # noqa: F401 - a fixture

from insource.engines.held_out import FILE, Said, read_held_out, write_held_out
from insource.engines.merge import merged
from insource.engines.windows import Window
from insource.errors import Refused
from insource.nouns import Prediction, Task, ask, from_json

TEXT = {"type": "string"}
INVOICE = Task(name="t", kind="extract", schema={"type": "object", "properties": {"price": TEXT, "date": TEXT}})


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_specialist_serves_what_lies_there(base, tmp_path, monkeypatch, dtype):  # noqa: F811 - the fixture
    import torch

    from insource.engines.specialist import Specialist

    for place in ("train.fit", "engines.specialist"):  # whichever this processor would take
        monkeypatch.setattr(f"insource.{place}.pick_dtype", lambda _: getattr(torch, dtype))
    made = sealed(TWO, base, tmp_path / "a")
    held = read_held_out(tmp_path / "a")
    rows = tiny.rows(TWO, 60, "dev")

    async def served():
        engine = Specialist(tmp_path / "a", name="s", threads=1)
        found = [await engine.complete(ask(TWO, row.input, id=row.id)) for row in rows]
        await engine.close()
        return found

    got = asyncio.run(served())
    assert [one.novelty for one in got] == pytest.approx(held.novelty, rel=0.01)
    for name in ("category", "urgency"):
        assert [one.fields[name] for one in got] == pytest.approx(held.fields[name], abs=0.01)
        right = tuple(one.value[name] == row.target[name] for one, row in zip(got, rows, strict=True))
        assert right == held.fields_right[name]
    assert sum(held.right) / 60 == made.dev["accuracy"]
    assert not any(row.input in (tmp_path / "a" / FILE).read_text() for row in rows)
    (tmp_path / "a" / FILE).write_text("{}")
    with pytest.raises(Refused, match="was changed"):
        read_held_out(tmp_path / "a")


def test_a_field_that_was_not_given_is_neither_right_nor_wrong(tmp_path):
    targets = [{"price": "9.00", "date": "May"}, {"price": "1"}, {"date": "June"}]
    said = [
        Said(value={"price": "9.00", "date": "june"}, confidence=0.8, fields={"price": 0.9, "date": 0.7}),
        Said(value={"price": "1"}, confidence=0.9, fields={"price": 0.9}),
        Said(value=None, confidence=0.0),
    ]
    write_held_out(tmp_path, INVOICE, targets, said)
    held = from_json((tmp_path / FILE).read_bytes(), dict)
    assert held["fields"] == {"price": [0.9, 0.9, None], "date": [0.7, None, None]}
    assert held["fields_right"] == {"price": [True, True, None], "date": [False, None, None]}
    assert (held["right"], held["novelty"]) == ([False, True, False], [])


def test_the_windows_of_a_text_are_as_strange_as_their_mean():
    windows = [Window(start=0, stop=5, tokens=3), Window(start=5, stop=9, tokens=1)]
    said = [
        Prediction(text="", value={"category": "heat", "urgency": "low"}, engine="e", confidence=0.9, novelty=strange)
        for strange in (-8.0, -4.0)
    ]
    assert merged(TWO, "some text", windows, said).novelty == -7.0
