"""How many replicas a rate of calls needs: what one was measured to do, put into the queue that it is."""

from insource.errors import Invalid
from insource.journeys.lineup import Progress, engine_of
from insource.journeys.load import Wanted, ready
from insource.journeys.measure import machine
from insource.measure.load import Step, hold
from insource.measure.service import Served, served
from insource.nouns import Noun, Task
from insource.price.batches import Batches
from insource.price.queueing import ASSUMED, Lanes, Queue, Station, highest_rate, queue, replicas_for
from insource.settings import Settings
from insource.store import Store

LEAST = 0.01  # calls a second that a load can hold


class Sized(Noun, frozen=True, kw_only=True):
    """`served` was measured of one replica, the rest is told from it by the queue `kind`.

    `needed` are the replicas for the rate that was asked for, None where no number of them meets the target. `one` is
    one replica at the highest rate at which 95% of its calls should be in time, None where none is; `held` is what the
    load test found at that rate.
    """

    task: str
    candidate: str
    url: str
    served: Served
    kind: str
    rate: float
    target_ms: float
    target_of: str
    needed: Queue | None
    one: Queue | None
    held: Step | None
    machine: str = ""
    assumed: str = ASSUMED


async def size(task: Task, settings: Settings, store: Store, wanted: Wanted, progress: Progress) -> Sized:
    """Measures one replica of what is wanted, and says how many of them `wanted.rate` calls a second in all need.

    Then it holds the highest rate that one should bear, so that what was said can be compared with what is. Raises as
    `load` does, and `Invalid` where no call is answered.
    """
    rate = wanted.rate or LEAST
    async with ready(task, settings, store, wanted, progress) as to:
        found = await served(to.send, to.inputs, progress)
        at = station(found, settings, to.name)
        best = highest_rate(at, 1, to.pace.target_ms)
        held = await hold(to.send, to.inputs, best, to.pace, progress) if best >= LEAST else None
    return Sized(
        task=task.name,
        candidate=to.name,
        url=wanted.url,
        served=found,
        kind="batches" if isinstance(at, Batches) else "lanes",
        rate=rate,
        target_ms=to.pace.target_ms,
        target_of=to.target_of,
        needed=replicas_for(at, rate, to.pace.target_ms),
        one=queue(at, 1, best) if best else None,
        held=held,
        machine=machine(),
    )


def station(served: Served, settings: Settings, candidate: str) -> Station:
    """The queue that the candidate is: engines in this process take all that waits as one batch, servers have lanes.

    Raises `Invalid` where nothing was answered.
    """
    if not served.n or not served.crowd_per_s:
        raise Invalid(f"{candidate} answered no call", hint="insource answer TASK --input TEXT shows what it says")
    alone, together = served.mean_ms / 1e3, served.crowd / served.crowd_per_s
    known = engine_of(candidate, settings.engines)
    if known is None or settings.engines[known].kind == "embedded":
        more = (together - alone) / (served.crowd - 1)
        rates = (*served.some, (served.crowd, served.crowd_per_s)) if served.some else ()
        some = tuple((callers, callers / rate) for callers, rate in rates if rate)
        return Batches(first_s=alone, more_s=max(more, alone * 1e-3), some=some, variation=served.variation)
    lanes = max(1, round(alone * served.crowd_per_s))
    return Lanes(mean_s=lanes / served.crowd_per_s, variation=served.variation, lanes=lanes)
