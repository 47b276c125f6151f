"""What a run kept, read: the task and criteria as they were, answers by candidate, loads, and who was fine-tuned."""

from dataclasses import dataclass

from insource.errors import Missing
from insource.journeys.migrate_ask import criteria_of
from insource.journeys.migrate_kept import get_lines
from insource.measure.load import Load
from insource.nouns import Example, Task
from insource.nouns.assessment import Asked, Assessment, Criteria, Finalist, Prices, Rows
from insource.nouns.suitability import Suitability
from insource.store import Store
from insource.store.stored import stored

ASKED, TRAINED, HARDER, LOAD = "asked", "trained", "hardened", "load"


@dataclass(frozen=True)
class Facts:
    """What a run kept, read."""

    task: Task
    criteria: Criteria
    prices: Prices
    fit: Suitability | None
    asked: dict[str, Asked]
    harder: dict[str, Asked]
    loads: dict[str, Load]
    finalists: dict[str, Finalist]
    harder_rows: list[tuple[int, Example]]


def facts_of(store: Store, run: Assessment) -> Facts:
    """The facts of a run. Raises `Missing` where it has only begun, `StoreError` for what is damaged."""

    def of(prefix: str) -> dict[str, bytes]:
        names = [name for name, sha in run.pieces.items() if sha and name.startswith(f"{prefix}/")]
        return {name.partition("/")[2]: store.blobs.get(run.pieces[name]) for name in names}

    if not {"task", "prices"} <= run.pieces.keys():
        raise Missing(f"the run {run.id} has only begun", hint="insource migrate TASK goes on with it")
    made = {name: stored(body, Finalist) for name, body in of(TRAINED).items()}
    kept = stored(store.blobs.get(run.pieces["adversarial"]), Rows).sha if "adversarial" in run.pieces else ""
    return Facts(
        task=stored(store.blobs.get(run.pieces["task"]), Task),
        criteria=criteria_of(store, run.id),
        prices=stored(store.blobs.get(run.pieces["prices"]), Prices),
        fit=stored(store.blobs.get(run.pieces["suitability"]), Suitability) if "suitability" in run.pieces else None,
        asked={name: stored(body, Asked) for name, body in of(ASKED).items()},
        harder={name: stored(body, Asked) for name, body in of(HARDER).items()},
        loads={name: stored(body, Load) for name, body in of(LOAD).items()},
        finalists={one.release or f"training {name}": one for name, one in made.items()},
        harder_rows=list(enumerate(get_lines(store, kept, Example))) if kept else [],
    )
