"""The incumbent's own answers to the sampled rows, as its log told them: nothing is asked again, nothing is paid."""

from insource.collect.take_calls import Fact
from insource.journeys.incumbent import Incumbent, incumbent
from insource.journeys.migrate_ask import keep
from insource.journeys.migrate_kept import Kept
from insource.measure.report import LOG as KIND
from insource.measure.run import Answered, Run
from insource.nouns import Example, Prediction, Task, Usage
from insource.nouns.assessment import Asked
from insource.nouns.pricing import ApiPrice, Tokens
from insource.price.tables import apis
from insource.store import Store

LOG = "log:"
FEWEST = 20  # answers to sampled rows: fewer compare nothing


async def named(task: Task, store: Store, dataset: str, rows: list[tuple[int, Example]]) -> str:
    """What the incumbent of the logs is called; empty where no log answers enough of the rows."""
    found = await incumbent(task, store, dataset)
    if found is None or sum(row.id in found.fair for _, row in rows) < FEWEST:
        return ""
    return f"{LOG}{found.engine or 'unknown'}"


async def of_log(kept: Kept) -> Asked:
    """The answers of the log to the sampled rows whose label is not merely that answer."""
    name = kept.criteria.incumbent
    found = await incumbent(kept.task, kept.store, kept.dataset.id)
    if found is None:
        return Asked(candidate=name, kind=KIND, failed="its log is not there any more")
    price = apis(kept.settings.price.apis).get(kept.criteria.price.incumbent)
    rows = [_answered(place, row, found, price) for place, row in kept.rows if row.id in found.fair]
    times = tuple(row.prediction.latency_ms for row in rows if row.prediction and row.prediction.latency_ms)
    seconds = sum(times) / 1000
    about = Asked(candidate=name, kind=KIND, priced=any(row.usd for row in rows), fingerprint=found.engine)
    return keep(kept.store, kept.task, about, Run(tuple(rows), times, len(times) / seconds if seconds else 0.0))


def _answered(place: int, row: Example, found: Incumbent, price: ApiPrice | None) -> Answered:
    fact = found.answers[row.id]
    said = Prediction(
        text="",
        value=fact.answer,
        engine=fact.engine,
        usage=Usage(input_tokens=fact.input_tokens or 0, output_tokens=fact.output_tokens or 0),
        latency_ms=fact.latency_ms or 0.0,
        finish="stop" if fact.answer is not None else "invalid",
    )
    return Answered(place, row, said, usd=_usd(fact, price), given=True)


def _usd(fact: Fact, price: ApiPrice | None) -> float:
    """What the call cost: as the log says, else at the list price of its tokens, else 0 for unknown."""
    if fact.usd is not None:
        return fact.usd
    if price is None or fact.input_tokens is None:
        return 0.0
    cached = min(fact.cached_tokens or 0, fact.input_tokens)
    return price.call(Tokens(input=fact.input_tokens, cached=cached, output=fact.output_tokens or 0))
