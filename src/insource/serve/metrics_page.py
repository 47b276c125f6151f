"""GET /metrics."""

from dataclasses import replace
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from insource.errors import StoreError
from insource.serve.metrics import NO_TASK, Now, exposed


def here(state: Any) -> Now:
    """What is known of this process, without asking the store."""
    desk = state.desk
    return Now(
        desk.in_flight,
        state.door.admission.limit,
        live=desk.live(),
        servers=desk.servers(),
        replicas=desk.replicas(),
        waiting=None,
        cache=desk.answers.counts,
        kept=desk.answers.kept,
        spool=desk.outage.seen() if desk.outage is not None else None,
        unasked=desk.trying.skipped,
    )


async def metrics(http: HttpRequest) -> Response:
    """GET /metrics: the numbers, for Prometheus."""
    desk = http.app.state.desk
    spool = desk.outage.seen() if desk.outage is not None else None
    alerts: dict[tuple[str, ...], float] = {}
    try:
        waiting: dict[str, int] | None = None if spool and spool.away else await desk.store.queues()
        if waiting is not None:
            alerts = {(one.task or NO_TASK, one.cause): 1.0 for one in await desk.store.open_alerts()}
    except StoreError:
        waiting = None  # the numbers of calls matter most when the store is down
    now = replace(here(http.app.state), waiting=waiting, spool=spool, alerts=alerts)
    families, siblings = desk.seeing.metrics.families(now), http.app.state.siblings
    if siblings is not None:
        families = await siblings.together(families)
    body, kind = exposed(families, http.headers.get("accept", ""))
    return Response(body, 200, {"cache-control": "no-store", "content-type": kind})
