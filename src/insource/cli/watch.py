"""`insource watch`: whether traffic is still what the release was made for."""

import click

from insource.cli.door import Door, verb
from insource.cli.stored import with_store
from insource.cli.words import bold, dim, mark, table
from insource.journeys.watch import WINDOW, Watched, watch
from insource.settings import Settings, load_task
from insource.store import Store
from insource.watch.window import Estimate

EXAMPLE = """
\b
Examples:
  insource watch tickets
  insource watch tickets --window 2000 --json
"""


@verb("watch", epilog=EXAMPLE)
@click.argument("task")
@click.option("--window", type=click.IntRange(100, 2000), default=WINDOW, show_default=True, help="The newest calls.")
def command(door: Door, task: str, window: int) -> None:
    """Hold the newest calls of TASK against its release's dev rows and against the month before.

    Labels, confidence, length and who answered, told from records, which hold no text. A change is one that chance
    would bring in one window of a hundred, however many features are looked at.
    """

    async def work(settings: Settings, store: Store) -> Watched:
        return await watch(load_task(settings, task), settings, store, window=window)

    found = with_store(door, work)
    door.show(found, _words(found))


def _words(found: Watched) -> str:
    state = found.triage
    when = f", {found.since[:16]} to {found.until[:16]} UTC" if found.calls else ""
    lines = [f"{bold(found.release)}: {found.calls:,} calls{when}".replace("T", " ")]
    lines.append("  " + mark(state.state in ("steady", "too few"), f"{state.state}: {state.why}"))
    if found.moved:
        rows = [(m.feature, m.against, f"{m.distance:.3f}", f"{m.p:.3f}", m.words) for m in found.moved]
        lines += ["", table(("what moved", "against", "distance", "p", "most"), rows)]
    lines += ["", f"  accuracy foretold   {_share(found.estimate)}  {dim(found.blind_spot)}"]
    lines += [f"  found by people     {_share(found.people)}  {dim(found.people_of)}"]
    promise = found.promise
    lines += [f"  promise             {mark(promise.state != 'broken', f'{promise.state}: {promise.why}')}"]
    following = state.next or promise.next
    return "\n".join([*lines, *([f"\nnext: {following}"] if following else [])])


def _share(found: Estimate | None) -> str:
    return "not known" if found is None else f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%}, n {found.n:,})"
