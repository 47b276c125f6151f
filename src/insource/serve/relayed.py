"""A call passed to an engine whose words go on as they come: as `ask` has it, but for what it gives."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from insource.journeys.relay import Begins, Telling, relay_bursts
from insource.serve import wire
from insource.serve.ask import Asked
from insource.serve.desk import Desk
from insource.serve.fresh import as_wished


@asynccontextmanager
async def relayed(desk: Desk, asked: Asked, id: str, begins: Begins) -> AsyncIterator[Telling]:
    """The words of an engine, together those that came together; then the record of the call, which is called `id`."""
    async with desk.lend(asked.call.model, asked.why) as path:
        request = wire.to_request(asked.call, None, id=id, key=asked.key, deadline=path.deadline)
        with await desk.meter.take(asked.key, request, path) as request, desk.seeing.call(request) as request:
            path = as_wished(desk.seeing.path(path), asked.sent)
            async with aclosing(relay_bursts(request, path, desk.keep, begins)) as coming:
                yield coming
