"""`insource measure --load`: how much it bears."""

from collections.abc import Callable
from typing import Any

import click

from insource.cli.door import Door
from insource.cli.measure_size import sized_words
from insource.cli.numbers import Number
from insource.cli.words import bold, dim, table
from insource.errors import Invalid
from insource.journeys.load import Wanted, load
from insource.journeys.sizing import Sized, size
from insource.measure.load import Load, Step, Times
from insource.settings import load_task
from insource.store import Store

ALONE = ("rate", "until_saturated", "size_for", "seconds", "target_ms", "url", "seed")
SECONDS = 20.0


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a load."""
    for option in reversed((
        click.option("--load", is_flag=True, help="Measure speed under load instead: calls come as they please."),
        click.option("--rate", metavar="R", type=Number(0.01, 100_000), help="Calls a second (default: 10)."),
        click.option("--until-saturated", is_flag=True, default=None, help="Raise the rate until too few are in time."),
        click.option("--size-for", metavar="R", type=Number(0.01, 1e6),
                     help="How many replicas R calls a second need: measures one, then checks what it bears."),
        click.option("--seconds", metavar="S", type=Number(1, 86_400),
                     help="How long to hold a rate (default: 20)."),
        click.option("--target-ms", metavar="MS", type=Number(0, min_open=True),
                     help="What is in time (default: p95_ms of the task's levels or acceptance, else 200)."),
        click.option("--url", metavar="URL", help="The gateway to load, over HTTP, streamed; its key: $INSOURCE_KEY."),
        click.option("--seed", metavar="N", type=click.IntRange(0), help="Draws other arrivals (default: 0)."),
    )):  # fmt: skip
        command = option(command)
    return command


def refuse(given: dict[str, Any]) -> None:
    """Raises `Invalid` when an option of a load is given without one."""
    stray = [name for name in ALONE if given.pop(name, None) is not None]
    if stray:
        option = stray[0].replace("_", "-")
        raise Invalid(f"--{option} is about a load", hint=f"insource measure TASK --load --{option} …")


async def loaded(door: Door, task: str, candidates: tuple[str, ...], given: dict[str, Any]) -> Load | Sized:
    """Puts the load on, or sizes by one. Raises `Invalid` for options that contradict each other."""
    if len(candidates) > 1:
        raise Invalid("a load is put on one candidate at a time", hint="give --candidate once")
    wants = {"--rate holds one": given["rate"], "--until-saturated finds one": given["until_saturated"],
             "--size-for asks for replicas": given["size_for"]}  # fmt: skip
    several = [words for words, asked in wants.items() if asked]
    if len(several) > 1:
        raise Invalid(f"of rates, {', '.join(several)}", hint="leave one of them out")
    if given["rows"] is not None:
        raise Invalid("--rows is about scores; a load takes the rows in turn", hint="leave --rows out")
    settings = door.settings()
    wanted = Wanted(
        candidate=candidates[0] if candidates else "",
        url=given["url"] or "",
        split=given["split"],
        shots=given["shots"],
        rate=None if given["until_saturated"] else given["size_for"] or given["rate"] or 10.0,
        seconds=given["seconds"] or SECONDS,
        target_ms=given["target_ms"],
        seed=given["seed"] or 0,
    )
    async with await Store.open(settings) as store:
        with door.progress() as progress:
            work = size if given["size_for"] else load
            return await work(load_task(settings, task), settings, store, wanted, progress)


def words(found: Load | Sized) -> str:
    """The load, or the size, in words."""
    if isinstance(found, Sized):
        return sized_words(found)
    first, token = any(step.first_ms for step in found.steps), any(step.token_ms for step in found.steps)
    head = ["calls/s", "calls", "answered", "in time", "p50 ms", "p95 ms", "p99 ms"]
    head += ["first p50", "first p95", "first p99"] * first + ["token p50", "token p95", "token p99"] * token
    rows = [_row(step, first=first, token=token) for step in found.steps]
    where = f"at {found.url}" if found.url else "in this process"
    lines = [bold(found.summary), "", table([*head, "failed"], rows), ""]
    lines += [
        dim(f"{found.candidate} {where}; in time is within {found.target_ms:g} ms ({found.target_of})."),
        dim("Calls arrive at random (Poisson), none waits for another; a latency counts from when its call was due."),
    ]
    late = max(step.late_ms for step in found.steps)
    if late > max(5.0, found.target_ms / 10):
        lines.append(dim(f"This machine sent calls up to {late:,.0f} ms late itself (p99): it is in the latencies."))
    return "\n".join(lines)


def _row(step: Step, *, first: bool, token: bool) -> list[str]:
    cells = [f"{step.rate:g}", f"{step.calls:,}", f"{step.answered:,}", step.in_time, *_cells(step.total_ms)]
    cells += _cells(step.first_ms) * first + _cells(step.token_ms, 2) * token
    return [*cells, ", ".join(f"{name} {count:,}" for name, count in sorted(step.failed.items())) or "none"]


def _cells(times: Times | None, digits: int = 1) -> list[str]:
    return ["", "", ""] if times is None else [f"{ms:,.{digits}f}" for ms in (times.p50, times.p95, times.p99)]
