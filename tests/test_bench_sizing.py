"""The bench of sizing: its rows hold by their bars and not beside them, and its searches find what is known."""

import asyncio
import importlib
import itertools
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield importlib.import_module
    for name in ("sizing", "sizing_rows", "sizing_memory"):
        sys.modules.pop(name, None)


def document(memory: float, rate: float):
    cell = {"model": "m", "format": "q8_0", "context": 512, "weights": 100, "cache": 10, "said_weights": 100,
            "said_cache": 10 + 110 * memory, "off": memory}  # fmt: skip
    lines = [{"of": "workers", "replicas": n, "target_ms": 80.0, "said": 10.0 * n * (1 + rate), "found": 10.0 * n,
              "off": rate} for n in (1, 2)]  # fmt: skip
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


def test_the_rate_found_is_where_the_target_is_met_and_what_is_said_is_the_middle(bench, monkeypatch):
    from insource.measure.load import Step, Times
    from insource.measure.service import Served

    sizing, slow = bench("sizing"), itertools.cycle([20.0, 20.0, 20.0, 24.0, 16.0, 20.0])

    async def served(*_):
        return Served(mean_ms=next(slow), variation=0.5, n=50, crowd=64, crowd_per_s=50.0)

    async def hold(_, __, rate, pace, ___):
        times = Times(p50=1.0, p95=pace.target_ms * rate / 20.0 / (1 + (pace.seed > 1)), p99=1.0, n=9)
        return Step(rate=rate, seconds=1.0, calls=9, answered=9, failed={}, answered_per_s=rate, goodput=1.0,
                    total_ms=times, first_ms=None, token_ms=None, late_ms=0.0)  # fmt: skip

    monkeypatch.setattr(sizing, "served", served)
    monkeypatch.setattr(sizing, "hold", hold)
    monkeypatch.setattr(sizing, "DRAWS", 1)
    one, two = asyncio.run(sizing.against("clerks", [None, None], ["a"], 1.0))
    assert one["target_ms"] == 80.0
    assert one["found"] == pytest.approx(20.0, rel=0.03)
    assert two["found"] == pytest.approx(40.0, rel=0.1), (
        "what is found is between half of what was said and 1.6 times it"
    )
    assert one["said"] == sorted(one["each"])[2] != min(one["each"])
    assert one["off"] == pytest.approx(one["said"] / one["found"] - 1)


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
