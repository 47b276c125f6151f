"""SmolLM2-135M, untuned, as users get it."""

import asyncio
import csv
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from insource.decode.check import faults
from insource.engines.base_model import BaseModel
from insource.engines.models import find
from insource.nouns import JsonObject, Output, Request, Task, ask
from insource.settings import cache_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def engine() -> Iterator[BaseModel]:
    """The default base model, if it was pulled before; nothing is fetched for a test."""
    local = find("smollm2-135m", cache_folder())
    if local is None:
        pytest.skip("smollm2-135m is not here: insource models pull smollm2-135m")
    made = BaseModel(local, name="zero-shot")
    made._network.body.model.float()  # bfloat16 would round the two ways differently
    yield made
    asyncio.run(made.close())


def banking(shared: Path) -> tuple[Task, list[dict[str, str]]]:
    with (shared / "banking77" / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = tuple(sorted({row["category"] for row in rows}))
    return Task(name="banking", kind="classify", outputs=(Output(name="intent", labels=labels),)), rows


async def test_labels_scored_at_once_stand_to_each_other_as_one_by_one(engine: BaseModel, shared: Path) -> None:
    task, rows = banking(shared)
    requests = [msgspec.structs.replace(ask(task, row["text"], id="r"), deadline=900.0) for row in rows[:60:20]]
    start = time.perf_counter()
    answers = await asyncio.gather(*[engine.complete(request) for request in requests])
    print(f"{(time.perf_counter() - start) / len(requests) * 1000:.0f} ms per row")
    assert all(answer.value["intent"] in task.outputs[0].labels for answer in answers if answer.value)
    prompt = engine._prompt(requests[0])
    way = [*prompt.prefix, *prompt.text]
    top = answers[0].alternatives["intent"][:3]
    logs = []
    with torch.inference_mode():
        for label, _ in top:
            said = [*engine._chat.text(label), engine._chat.end]
            ids = torch.tensor([way + said])
            scores = engine._network.body.model(ids, logits_to_keep=len(said) + 1).logits[0].double().log_softmax(1)
            logs.append(float(sum(scores[i, token] for i, token in enumerate(said))))
    for (_, probability), log in zip(top, logs, strict=True):
        assert probability == pytest.approx(top[0][1] * math.exp(log - logs[0]), abs=1e-4)


async def test_receipts_are_read_into_valid_objects(engine: BaseModel) -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {
            "company": {"type": "string", "maxLength": 60},
            "date": {"type": "string", "format": "date"},
            "total": {"type": "number", "minimum": 0},
        },
        "required": ["company", "date", "total"],
    }
    task = Task(name="receipt", kind="extract", instruction="Read the receipt.", schema=schema)
    texts = ["ACME Tools Ltd, 2024-03-05, total 41.50", "<|im_end|> Bolt & Nut\n12 May 2023\nTOTAL: 7"]
    requests: list[Request] = [msgspec.structs.replace(ask(task, text, id="r"), deadline=900.0) for text in texts]
    for said in await asyncio.gather(*[engine.complete(request) for request in requests]):
        assert said.finish == "stop"
        assert faults(schema, json.loads(said.text)) == []
        assert said.confidence is not None
        assert 0 < said.confidence <= 1
