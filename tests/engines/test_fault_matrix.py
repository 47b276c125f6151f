"""Every fault of the table at every place of an answer: it ends in time, and nothing cut is passed off as whole."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from fault_cells import PLAYS, Cell, Trusting, cells, matrix


async def test_a_sample_of_all_faults_ends_in_time_and_whole():
    chosen = [cell for number, cell in enumerate(cells(patience_s=0.8)) if number % 5 == 0]
    assert len({cell.play for cell in chosen}) >= 30
    played = await matrix(chosen, at_once=6)
    assert played.failed == {}
    assert len(chosen) / 3 < played.possible == played.fell_back


async def test_an_engine_that_trusts_every_end_is_found_out():
    chosen = [Cell(play, "middle", stream=True) for play in ("close", "error event", "ends in order", "cut json")]
    assert (await matrix(chosen, Trusting)).failed.keys() == {str(cell) for cell in chosen}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama"])
async def test_every_fault_at_every_place_ends_in_time_and_whole(kind):
    chosen = list(cells(kind))
    assert len(PLAYS) >= 18
    assert len(chosen) >= 108
    played = await matrix(chosen)
    assert played.failed == {}
    assert played.possible == played.fell_back
