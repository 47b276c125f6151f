"""`insource watch`: whether traffic is still what the release was made for."""

from collections.abc import Sequence

import click

from insource.cli.door import Door, verb
from insource.cli.stored import with_store
from insource.cli.words import bold, dim, mark, table
from insource.journeys.holdout import HoldoutTrend
from insource.journeys.pinned import accept as accepted
from insource.journeys.watch import WINDOW, Watched, watch
from insource.nouns import Alert
from insource.settings import Settings, load_task
from insource.store import Store
from insource.watch.window import Estimate

UNTOLD, BAD = ("too few", "no promise"), ("drift", "degradation", "broken")
EXAMPLE = """
\b
Examples:
  insource watch               every alert that is open
  insource watch tickets
  insource watch tickets --accept tier2
  insource watch tickets --window 2000 --json
"""


@verb("watch", epilog=EXAMPLE)
@click.argument("task", required=False, default="")
@click.option("--window", type=click.IntRange(100, 2000), default=WINDOW, show_default=True, help="The newest calls.")
@click.option("--accept", metavar="ENGINE", default="", help="Hold its pinned rows against its newest run from now on.")
def command(door: Door, task: str, window: int, accept: str) -> None:
    """Hold the newest calls of TASK against its release's dev rows and against the month before.

    Labels, confidence, length and who answered, told from records, which hold no text. A change is one that chance
    would bring in one window of a hundred, however many features are looked at. Then what the nights found: the
    rolling holdout, and the pinned rows of engines of others. Without TASK: the alerts that are open.
    """
    if accept:
        run = with_store(door, lambda _, store: accepted(task, accept, store))
        door.show(run, f"{run.engine}: {len(run.rows)} rows of {run.created[:10]} are what later ones are held against")
        return
    if not task:
        alerts = with_store(door, lambda _, store: store.open_alerts())
        door.show({"alerts": alerts}, alert_words(alerts))
        return

    async def work(settings: Settings, store: Store) -> Watched:
        return await watch(load_task(settings, task), settings, store, window=window)

    found = with_store(door, work)
    door.show(found, _words(found))


def alert_words(alerts: Sequence[Alert]) -> str:
    """The alerts, a few lines each."""
    lines = []
    for alert in alerts:
        lines.append(
            mark(False, f"{dim(alert.since[:10])} {bold(alert.task or 'workspace')} {alert.cause}: {alert.words}")
        )
        lines += [f"  next: {alert.next}"] * bool(alert.next)
    return "\n".join(lines) or "no alert is open"


def _words(found: Watched) -> str:
    state = found.triage
    since, until = (time[:16].replace("T", " ") for time in (found.since, found.until))
    when = f", {since} to {until} UTC" if found.calls else ""
    lines = [f"{bold(found.release)}: {found.calls:,} calls{when}"]
    lines.append("  " + _marked(state.state, state.why))
    if found.moved:
        rows = [(m.feature, m.against, f"{m.distance:.3f}", f"{m.p:.3f}", m.words) for m in found.moved]
        lines += ["", table(("what moved", "against", "distance", "p", "most"), rows)]
    lines += ["", f"  accuracy foretold   {_share(found.estimate)}  {dim(found.blind_spot)}"]
    lines += [f"  found by people     {_share(found.people)}  {dim(found.people_of)}"]
    lines += [f"  {found.unfit.words}"] if found.unfit.n else []
    lines += [f"  holdout             {holdout_words(found.holdout)}"] * bool(found.holdout and found.holdout.results)
    promise = found.promise
    lines += [f"  promise             {_marked(promise.state, promise.why)}"]
    for one in found.pinned:
        as_ever = not one.changed
        what = f"as on {one.since[:10]}" if as_ever else "; ".join(one.changed)
        lines.append(f"  {one.engine.ljust(19)} {mark(as_ever, what)}  {dim(f'same answers {_share(one.same)}')}")
    following = state.next or promise.next
    lines += [f"\nnext: {following}"] * bool(following)
    return "\n".join([*lines, *(["", alert_words(found.alerts)] if found.alerts else [])])


def holdout_words(found: HoldoutTrend | None) -> str:
    """What the rolling holdout comes to."""
    if found is None or not found.results:
        return "not asked yet"
    newest, state = found.results[-1], found.triage
    words = _marked(state.state, state.why)
    return f"{words}  {dim(f'{newest.release}, {newest.created[:10]}; drawn by chance {_share(newest.by_chance)}')}"


def _marked(state: str, why: str) -> str:
    """✓ is what was seen to be well, ✗ what was seen not to be; of the rest nothing is known."""
    words = f"{state}: {why}"
    return dim(f"· {words}") if state in UNTOLD else mark(state not in BAD, words)


def _share(found: Estimate | None) -> str:
    return "not known" if found is None else f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%}, n {found.n:,})"
