"""What a person sees of a call at which two releases differ: nothing that a scan had taken out."""

import msgspec
import pytest

from insource.engines.scripted import Rule, Scripted
from insource.journeys.answer import Path, Tier, answer, discard
from insource.journeys.beside import Pair, beside
from insource.journeys.scanned import Scans
from insource.nouns import Output, Rollout, Task, ask
from insource.route import Scope, Terms

CLASSIFY = Task(name="t", kind="classify", outputs=(Output(name="a", labels=("x", "y")),))
EXTRACT = Task(name="t", kind="extract", schema={"type": "object", "properties": {"a": {"type": "string"}}})


def path(task: Task, version: str, value: str, scans: Scans | None) -> Path:
    engine = Scripted(f"t@{version}", (Rule(match="*", value={"a": value}, confidence=0.9),))
    return Path(task=task, tiers=(Tier(engine, f"t@{version}"),), scans=scans)


@pytest.mark.parametrize(
    ("task", "scans", "kept"),
    [
        (CLASSIFY, None, {"a": "x"}),
        (EXTRACT, None, {"a": "x"}),
        (CLASSIFY, Scans(None, None), {"a": "x"}),
        (EXTRACT, Scans(None, None), None),
    ],
)
async def test_of_a_scanned_task_the_queue_keeps_labels_alone(task, scans, kept):
    live, ours = path(task, "1.0.0", "x", scans), path(task, "1.1.0", "y", scans)
    request = ask(task, "some text", id="r")
    record = await answer(request, live, discard)
    tried = await beside(request, record, Pair(ours, live, Rollout()))
    assert tried.trial.agrees is False
    assert tried.pending.value == kept
    assert (tried.trial.theirs.value, tried.trial.ours.value) == (
        ({"a": "x"}, {"a": "y"}) if task is CLASSIFY else (None, None)
    )


class Strange(Scripted):
    """A scripted engine that finds every text stranger than any row held out."""

    async def complete(self, request):
        return msgspec.structs.replace(await super().complete(request), novelty=9.0)


def strange(version: str, value: str) -> Path:
    engine = Strange(f"t@{version}", (Rule(match="*", value={"a": value}, confidence=0.9),))
    terms = Terms(scope=Scope(held_out=(0.1, 0.2, 0.3), alarms=0.5))
    return Path(task=CLASSIFY, tiers=(Tier(engine, f"t@{version}", terms=terms),))


@pytest.mark.parametrize("both", [True, False])
async def test_a_label_that_was_withheld_as_out_of_scope_agrees_with_no_label(both):
    live = strange("1.0.0", "y") if both else path(CLASSIFY, "1.0.0", "x", None)
    ours = strange("1.1.0", "x")
    request = ask(CLASSIFY, "some text", id="r")
    tried = await beside(request, await answer(request, live, discard), Pair(ours, live, Rollout()))
    assert tried.trial.ours.value == {} and not tried.trial.ours.fault
    assert tried.trial.agrees is both, "two that say that no label fits agree, whatever label they held likeliest"
