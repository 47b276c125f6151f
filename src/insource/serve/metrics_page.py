"""GET /metrics."""

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from insource.errors import StoreError
from insource.serve.metrics import NO_TASK, Now


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
    limit = http.app.state.door.admission.limit
    now = Now(
        desk.in_flight,
        limit,
        live=desk.live(),
        servers=desk.servers(),
        waiting=waiting,
        cache=desk.answers.counts,
        kept=desk.answers.kept,
        spool=spool,
        alerts=alerts,
        unasked=desk.trying.skipped,
    )
    body, kind = desk.seeing.metrics.page(now, http.headers.get("accept", ""))
    return Response(body, 200, {"cache-control": "no-store", "content-type": kind})
