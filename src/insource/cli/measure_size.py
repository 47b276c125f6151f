"""What `insource measure TASK --load --size-for R` says."""

from insource.cli.words import bold, dim, table
from insource.journeys.sizing import Sized
from insource.price.queueing import Queue

KINDS = {
    "batches": "it takes all that waits as one batch, as engines in this process do",
    "lanes": "it works on calls side by side, as servers do",
}


def sized_words(found: Sized) -> str:
    """The replicas, what one of them does, and whether the load test agrees."""
    served = found.served
    head = ["", "calls/s", "busy", "p50 ms", "p95 ms", "p99 ms"]
    rows = [_row(f"{queue.replicas} replicas" if queue.replicas > 1 else "1 replica", queue)
            for queue in (found.needed, found.one) if queue]  # fmt: skip
    if found.held and found.held.total_ms:
        step, times = found.held, found.held.total_ms
        rows.append(
            ["measured of 1", f"{step.rate:,.3g}", "", *(f"{ms:,.1f}" for ms in (times.p50, times.p95, times.p99))]
        )
    where = f"at {found.url}" if found.url else "in this process"
    lines = [bold(_first(found)), "", table(head, rows), ""] if rows else [bold(_first(found)), ""]
    lines += [
        dim(f"{found.candidate} {where}, alone: {served.mean_ms:,.1f} ms a call (n {served.n}); "
            f"{served.crowd} callers at once: {served.crowd_per_s:,.1f} a second."),
        dim(f"In time is within {found.target_ms:g} ms ({found.target_of}). Told by a queue: {KINDS[found.kind]};"),
        dim(f"{found.assumed}. Measured: {found.machine or 'this machine'}."),
    ]  # fmt: skip
    if found.held:
        lines.append(
            dim(f"Of the calls at the rate of one replica {found.held.goodput:.1%} were in time; 95% was said.")
        )
    return "\n".join(lines)


def _first(found: Sized) -> str:
    asked = f"{found.rate:g} calls a second within {found.target_ms:g} ms at p95"
    if found.needed is None:
        return f"{asked}: no number of replicas does that; one call alone takes {found.served.mean_ms:,.0f} ms"
    count = found.needed.replicas
    return f"{asked}: {count:,} replica{'' if count == 1 else 's'} like this one"


def _row(name: str, queue: Queue) -> list[str]:
    times = (f"{ms:,.1f}" for ms in (queue.p50_ms, queue.p95_ms, queue.p99_ms))
    return [name, f"{queue.rate:,.3g}", f"{queue.busy:.0%}", *times]
