"""What one call of `migrate` may spend on engines that are paid by the token: who would cost more is not asked."""

from collections.abc import Sequence
from statistics import fmean

from insource.collect.purse import Purse
from insource.errors import InsourceError, Invalid, OverLimit
from insource.journeys.teacher import expected, priced, unbilled
from insource.measure import Answer
from insource.nouns import PREMISES, Example, Record, Request, Task, canonical
from insource.settings import Settings

MORE = "--budget says how much it may be; the same command goes on with who was not asked"


def can_be_kept(settings: Settings, budget: float | None) -> None:
    """Raises `Invalid` for a budget that cannot be kept: an engine of others has no price in insource.toml."""
    for name, engine in settings.engines.items():
        if budget is not None and not priced(engine) and engine.kind != "scripted" and engine.place != PREMISES:
            hint = f"usd_per_million_input and usd_per_million_output under [engines.{name}]; 0.001 for next to nothing"
            raise Invalid(f"no budget can be kept for {name}: insource.toml has no price of it", hint=hint)


def call_tokens(task: Task, rows: Sequence[Example]) -> tuple[int, int]:
    """Tokens in and out of one call, about."""
    if not rows:
        return expected(task, 0, 0)
    return expected(task, fmean(len(row.input) for row in rows), fmean(len(canonical(row.target)) for row in rows))


def out_of(purse: Purse, name: str, each: float, rows: int, answer: Answer) -> Answer:
    """`answer`, paid out of the purse. Raises `OverLimit` at once where `rows` calls at `each` are more than is left.

    What the dearest call cost so far is held for one under way, so that none begins that could not be paid for if it
    were no dearer. Of a call that failed nobody knows what it cost: it counts as that, but for what is never billed.
    """
    if not purse.holds(each * rows):
        left = f"${max(0.0, purse.left):.4f} {purse.of} is left"
        raise OverLimit(f"{name} would cost about ${each * rows:.4f}, {left}", hint=MORE, retry_s=None)
    dearest = each

    async def way(request: Request) -> Record:
        nonlocal dearest
        if not purse.take(request.id, dearest):
            raise OverLimit(f"the budget {purse.of} is used up while {name} is asked", hint=MORE, retry_s=None)
        cost = dearest
        try:
            record = await answer(request)
            cost = record.usd
            dearest = max(dearest, cost)
            return record
        except InsourceError as error:
            cost = 0.0 if unbilled(error) else cost
            raise
        finally:
            purse.settle(request.id, cost)

    return way
