"""/v1/batches: calls of a file, answered beside the live ones. Source: OpenAI API reference, batches."""

import time
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request as HttpRequest
from starlette.types import ASGIApp

from insource.errors import Conflict, Invalid
from insource.nouns import JsonObject
from insource.nouns.filing import UNDER_WAY, CallBatch, name_of
from insource.serve import wire
from insource.serve.answered import read_body
from insource.serve.auth import key_of
from insource.serve.desk import Desk
from insource.serve.files import listed, page_of, said
from insource.serve.gateway import CHAT

DAY_S = 86_400
LISTED, MOST_LISTED = 20, 100
MOST_METADATA = 16
TOLD = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


class BatchCall(msgspec.Struct, kw_only=True):
    """The body of POST /v1/batches."""

    input_file_id: Annotated[str, Meta(min_length=1, max_length=64)]
    endpoint: Annotated[str, Meta(max_length=256)]
    completion_window: Annotated[str, Meta(max_length=16)]
    metadata: Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
                        Meta(max_length=MOST_METADATA)] | None = None  # fmt: skip


async def batches(http: HttpRequest) -> ASGIApp:
    """The caller's batches, or begins one more."""
    desk: Desk = http.app.state.desk
    key = key_of(http)
    if http.method != "POST":
        page = page_of(http.query_params, LISTED, MOST_LISTED)
        return said(listed(await desk.store.filing.batches(key.tenant, page), page.limit, shown))
    call = wire.read(await read_body(http, desk.settings.serve.max_body_bytes), BatchCall, "a batch")
    if call.endpoint != CHAT:
        raise Invalid(f"batches are of calls to {CHAT}", at="endpoint")
    if call.completion_window != "24h":
        raise Invalid("completion_window is 24h", at="completion_window")
    file = await desk.store.filing.file(key.tenant, call.input_file_id)
    if file.purpose != "batch":
        raise Invalid(f"{file.id} is what a batch wrote", at="input_file_id")
    now = int(time.time())
    made = CallBatch(id=name_of("batch_"), tenant=key.tenant, key=key.id, endpoint=call.endpoint, input=file.id,
                     created=now, expires=now + DAY_S, metadata=call.metadata)  # fmt: skip
    await desk.store.filing.add_batch(made)
    http.app.state.batches.noted.set()
    return said(shown(made))


async def batch(http: HttpRequest) -> ASGIApp:
    """One batch."""
    desk: Desk = http.app.state.desk
    return said(shown(await desk.store.filing.batch(key_of(http).tenant, http.path_params["id"])))


async def cancel(http: HttpRequest) -> ASGIApp:
    """Ends a batch: what was answered so far is in its output file."""
    desk: Desk = http.app.state.desk
    tenant, name = key_of(http).tenant, http.path_params["id"]
    for _ in range(8):  # its status may change meanwhile
        found = await desk.store.filing.batch(tenant, name)
        if found.status == "cancelling":
            return said(shown(found))
        if found.status not in UNDER_WAY or found.status == "finalizing":
            raise Conflict(f"{name} is {found.status} and cannot be cancelled")
        if await desk.store.filing.change(ended := moved(found, "cancelling"), found.status):
            http.app.state.batches.noted.set()
            return said(shown(ended))
    raise Conflict(f"{name} changes too often to be cancelled now", hint="try again")


def moved(batch: CallBatch, status: str, **more: object) -> CallBatch:
    """The batch come to another status now."""
    at = batch.at | {status: int(time.time())}
    return msgspec.structs.replace(batch, status=status, at=at, **more)


def shown(batch: CallBatch) -> JsonObject:
    """OpenAI's object of a batch."""
    faults = [msgspec.structs.asdict(fault) for fault in batch.faults]
    at = {f"{status}_at": batch.at.get(status) for status in TOLD}
    return {
        "id": batch.id, "object": "batch", "endpoint": batch.endpoint, "completion_window": "24h",
        "errors": {"object": "list", "data": faults} if faults else None,
        "input_file_id": batch.input, "status": batch.status, "output_file_id": batch.output,
        "error_file_id": batch.errors_file, "created_at": batch.created, "expires_at": batch.expires, **at,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata,
    }  # fmt: skip
