"""GET /metrics."""

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from insource.errors import StoreError
from insource.serve.metrics import Now


async def metrics(http: HttpRequest) -> Response:
    """GET /metrics: the numbers, for Prometheus."""
    desk = http.app.state.desk
    spool = desk.outage.seen() if desk.outage is not None else None
    try:
        waiting: dict[str, int] | None = None if spool and spool.away else await desk.store.queues()
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
    )
    body, kind = desk.seeing.metrics.page(now, http.headers.get("accept", ""))
    return Response(body, 200, {"cache-control": "no-store", "content-type": kind})
