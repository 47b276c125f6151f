"""The untuned engine says how much of a text it reads, so that a long one can be read in windows."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from test_base_model import EXTRACT, ONE, SCHEMA, call, engine

from insource.decode.check import faults
from insource.engines.base_model import BaseModel

__all__ = ["engine"]


async def test_it_says_how_much_of_a_text_it_reads_and_that_much_is_not_cut(engine: BaseModel) -> None:
    for task in (ONE, EXTRACT):
        room = engine.room(task)
        assert 0 < room < engine._network.window * 3 // 4
        text = " ".join(f"bearing {i} coolant" for i in range(2000))
        offsets = engine.offsets(text)
        assert text[offsets[5][0] : offsets[5][1]].strip() in text
        fits = text[: offsets[room - 1][1]]
        for most in (None, engine._network.window):
            assert engine._prompt(call(task, fits, max_tokens=most)).cut == 0
        assert engine._prompt(call(task, text)).cut > 0


async def test_a_long_text_is_read_in_windows_by_the_untuned_model_too(engine: BaseModel) -> None:
    from insource.engines.windowed import Windowed

    text = "the pump " * 1500
    said = await Windowed(engine).complete(call(EXTRACT, text, deadline=600.0))
    assert said.finish == "stop"
    assert said.value is not None
    assert not faults(SCHEMA, said.value)
    assert set(said.places) == set(SCHEMA["properties"])
    assert said.usage.cut == 0
    assert said.usage.input_tokens > engine._network.window
