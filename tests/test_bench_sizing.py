"""The bench of sizing: its rows hold by their bars and not beside them, and its searches find what is known."""

import asyncio
import importlib
import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module
    for name in ("sizing", "sizing_queue", "sizing_rows", "sizing_memory"):
        sys.modules.pop(name, None)


def document(memory: float, rate: float):
    cell = {"model": "m", "format": "q8_0", "context": 512, "weights": 100, "cache": 10, "said_weights": 100,
            "said_cache": 10 + 110 * memory, "off": memory}  # fmt: skip
    lines = [{"of": "workers", "replicas": n, "target_ms": 80.0, "said": 10.0 * n * (1 + rate), "found": 10.0 * n,
              "off": rate, "off_between": [rate - 0.04, rate + 0.06], "rounds": 6} for n in (1, 2)]  # fmt: skip
    return {"memory": [cell], "queue": lines}


@pytest.mark.parametrize(
    ("memory", "rate", "hold"),
    [(0.04, -0.19, [True, True, True]), (-0.06, 0.1, [False, True, True]), (0.0, 0.21, [True, True, False])],
)
def test_a_row_holds_within_its_bar_alone(bench, memory, rate, hold):
    rows = list(bench("sizing_rows").sizing(document(memory, rate)))
    assert [row[3] for row in rows] == hold
    assert f"{rate:+.0%}" in rows[-1][2]


def test_calls_go_to_whoever_has_the_fewest_under_way(bench):
    from insource.measure.load import Reply

    seen = []

    def way(number, seconds):
        async def send(_):
            seen.append(number)
            await asyncio.sleep(seconds)
            return Reply()

        return send

    async def work():
        send = bench("sizing").balanced([way(0, 0.2), way(1, 0.0)])
        slow = asyncio.create_task(send("a"))
        await asyncio.sleep(0.01)
        for _ in range(3):
            await send("a")
        await slow

    asyncio.run(work())
    assert seen == [0, 1, 1, 1]


def test_the_crossing_is_where_five_in_a_hundred_are_late(bench):
    crossing = bench("sizing_queue").crossing
    rates, calls = np.array([5.0, 10.0, 20.0]), np.full(3, 1e6)
    assert crossing(rates, np.array([0.05 / 4, 0.05, 0.2]), calls) == pytest.approx(10.0, rel=1e-3)
    assert crossing(rates, np.array([0.05 / 8, 0.05 / 2, 0.1]), calls) == pytest.approx(10 * math.sqrt(2), rel=1e-3)
    assert crossing(rates, np.array([0.0, 0.2, 0.1]), calls) < 10, "what falls with the rate by chance is one step"
    assert crossing(rates, np.array([0.0, 0.0, 0.0]), calls) == pytest.approx(20.0), "not beyond what was held"


@pytest.mark.parametrize(("really", "low", "high"), [(1.0, -0.1, 0.1), (1.15, 0.2, 0.6)])
def test_both_sides_see_the_same_paces_and_what_is_slower_than_measured_shows(bench, monkeypatch, really, low, high):
    from insource.measure.load import Step
    from insource.measure.service import Served
    from insource.price.queueing import Lanes, highest_rate

    queue, paces, now = bench("sizing_queue"), itertools.cycle([20.0, 16.0, 20.0, 28.0, 20.0, 16.0, 24.0]), []

    def lanes(one):
        return Lanes(mean_s=one.mean_ms / 1e3, variation=one.variation)

    async def served(*_):
        now[:] = [next(paces)]
        return Served(mean_ms=now[0], variation=0.5, n=50, crowd=64, crowd_per_s=50.0)

    async def hold(send, _, rate, pace, __):
        one = Served(mean_ms=now[0] * really, variation=0.5, n=50, crowd=64, crowd_per_s=50.0)
        late = lanes(one).later(send, rate)
        share = 1.0 if late is None else late(pace.target_ms / 1e3)
        return Step(rate=rate, seconds=1.0, calls=900, answered=900, failed={}, answered_per_s=rate, goodput=1 - share,
                    total_ms=None, first_ms=None, token_ms=None, late_ms=0.0)  # fmt: skip

    monkeypatch.setattr(queue, "served", served)
    monkeypatch.setattr(queue, "hold", hold)
    one, two = asyncio.run(queue.against("clerks", [(1, [1]), (2, [1])], ["a"], lanes, lambda text: None))
    alone = highest_rate(Lanes(mean_s=0.02, variation=0.5), 1, one["target_ms"])
    assert one["said"] < 0.97 * alone, "the slow minutes have most of the late calls"
    for line in (one, two):
        assert low < line["off"] < high
        assert line["off_between"][0] <= line["off"] <= line["off_between"][1]
        assert line["found_between"][0] <= line["found"] <= line["found_between"][1]


def test_a_gguf_file_is_written_in_another_kind_with_all_that_it_says(bench, tmp_path):
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    memory = bench("sizing_memory")
    writer = gguf.GGUFWriter(tmp_path / "one.gguf", "llama")
    writer.add_context_length(64)
    writer.add_token_list(["a", "b"])
    table = numpy.linspace(-1, 1, 2 * 64, dtype=numpy.float32).reshape(2, 64)
    for name, value in (("token_embd.weight", table), ("blk.0.attn_q.weight", table), ("output_norm.weight", table[0])):
        writer.add_tensor(name, value)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    made = gguf.GGUFReader(memory.rewritten(tmp_path / "one.gguf", tmp_path / "two.gguf", "Q4_0"))
    kinds = {one.name: one.tensor_type.name for one in made.tensors}
    assert kinds == {"token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q4_0", "output_norm.weight": "F32"}
    assert made.fields["llama.context_length"].contents() == 64
    assert made.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    assert memory.tensors(tmp_path / "two.gguf") == 128 * 34 // 32 + 128 * 18 // 32 + 64 * 4
