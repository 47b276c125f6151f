"""A base model on probation: asked every probe through the engine that will serve it, and judged by the table."""

import asyncio
import time
from collections.abc import Callable

import insource
from insource.engines.local import LocalModel
from insource.errors import InsourceError
from insource.measure.probes import Probed, judge, probes, rounds
from insource.nouns import Prediction, Request

Progress = Callable[[str, int, int], None]


async def probe(local: LocalModel, *, progress: Progress, threads: int = 0) -> Probed:
    """What the model does with every probe. Raises `EngineDown` without torch, or when the model cannot be loaded."""
    from insource.engines.base_model import BaseModel
    from insource.engines.plain_text import attempts

    start = time.monotonic()
    table = probes()
    tried, slipped = await asyncio.to_thread(attempts, local.folder)
    engine = await asyncio.to_thread(BaseModel, local, name=local.name, threads=threads)
    answers: dict[str, Prediction | str] = {}
    asked = rounds(table)
    whole = sum(map(len, asked))

    async def ask(request: Request) -> None:
        try:
            answers[request.id] = await engine.complete(request)
        except InsourceError as error:
            answers[request.id] = str(error)
        progress(f"probe {local.name}", len(answers), whole)

    try:
        for requests in asked:
            await asyncio.gather(*map(ask, requests))
    finally:
        await engine.close()
    return Probed(
        model=local.sha256,
        table=table.sha256,
        version=insource.__version__,
        said=judge(table, answers),
        tried=tried,
        slipped=slipped,
        seconds=time.monotonic() - start,
    )
