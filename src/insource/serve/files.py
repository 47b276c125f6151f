"""/v1/files: what a caller sends for a batch, and what comes back. Source: OpenAI API reference, files.

The bytes are kept until the caller deletes the file: they are the caller's own words.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, get_args

import msgspec
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive

from insource.errors import Conflict, Invalid
from insource.nouns import JsonObject, to_json
from insource.nouns.filing import Purpose, StoredFile, name_of
from insource.serve.auth import key_of
from insource.serve.desk import Desk
from insource.serve.faults import NOT_KEPT, TooLarge
from insource.store.filing import Page

MOST_NAME, MOST_LISTED, LISTED = 256, 10_000, 10_000
AROUND = 65_536  # bytes of a form around its file


async def files(http: HttpRequest) -> ASGIApp:
    """The caller's files, or takes one more."""
    return await (_upload(http) if http.method == "POST" else _listed(http))


async def file(http: HttpRequest) -> ASGIApp:
    """One file, or removes it."""
    desk, tenant, name = _asked(http)
    found = await desk.store.filing.file(tenant, name)
    if http.method != "DELETE":
        return said(shown(found))
    sha = await desk.store.filing.remove_file(tenant, name)
    await asyncio.to_thread(desk.store.blobs.remove, sha)
    return said({"id": name, "object": "file", "deleted": True})


async def content(http: HttpRequest) -> ASGIApp:
    """The bytes of a file."""
    desk, tenant, name = _asked(http)
    data = await bytes_of(desk, await desk.store.filing.file(tenant, name))
    return Response(data, 200, NOT_KEPT, "application/octet-stream")


async def keep_file(desk: Desk, made: StoredFile, data: bytes) -> StoredFile:
    """Keeps bytes as the file that is `made`. Raises `StoreError`, or `Conflict` and keeps nothing.

    Its name stands before them, so that no two files are one blob: each can be removed by itself, and no tenant learns
    by the time it takes that another has sent the same.
    """
    store, made = desk.store, msgspec.structs.replace(made, size=len(data))
    await store.filing.check_room(made)  # what will be refused need not be written
    made = msgspec.structs.replace(made, sha=await asyncio.to_thread(store.blobs.put, made.id.encode() + b"\n" + data))
    try:
        await store.filing.add_file(made)
    except Conflict:  # others took the room; after a `StoreError` it may be on record, and its bytes are needed
        await asyncio.to_thread(store.blobs.remove, made.sha)
        raise
    return made


async def bytes_of(desk: Desk, file: StoredFile) -> bytes:
    """What was sent. Raises `StoreError`."""
    return (await asyncio.to_thread(desk.store.blobs.get, file.sha)).partition(b"\n")[2]


def new_file(tenant: str, name: str, purpose: Purpose, id: str = "") -> StoredFile:
    """A file that has no bytes yet."""
    return StoredFile(
        id=id or name_of("file-"), tenant=tenant, name=name, purpose=purpose, size=0, sha="", created=int(time.time())
    )


def shown(file: StoredFile) -> JsonObject:
    """OpenAI's object of a file."""
    return {"id": file.id, "object": "file", "bytes": file.size, "created_at": file.created, "filename": file.name,
            "purpose": file.purpose, "status": "processed", "expires_at": None, "status_details": None}  # fmt: skip


def listed(found: list[Any], limit: int, show: Any) -> JsonObject:
    """OpenAI's page of a list; `found` has one more than `limit` where there is more."""
    data = [show(one) for one in found[:limit]]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, "has_more": len(found) > limit, **ends}


def page_of(query: Mapping[str, str], usual: int, most: int) -> Page:
    """Which part of a list the caller asks for. Raises `Invalid`."""
    limit = query.get("limit", str(usual))
    if not limit.isdecimal() or not 1 <= int(limit) <= most:
        raise Invalid(f"limit is a number of 1 to {most:,}", at="limit")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise Invalid("order is asc or desc", at="order")
    purpose = query.get("purpose", "")
    if purpose and purpose not in get_args(Purpose):
        return Page(limit=0)  # of other purposes there are none
    return Page(limit=int(limit), after=query.get("after", ""), oldest=order == "asc", purpose=purpose)


def said(body: JsonObject) -> Response:
    """The body as an answer."""
    return Response(to_json(body), 200, NOT_KEPT, "application/json")


def _asked(http: HttpRequest) -> tuple[Desk, str, str]:
    return http.app.state.desk, key_of(http).tenant, http.path_params["id"]


async def _listed(http: HttpRequest) -> ASGIApp:
    desk: Desk = http.app.state.desk
    page = page_of(http.query_params, LISTED, MOST_LISTED)
    found = await desk.store.filing.files(key_of(http).tenant, page) if page.limit else []
    return said(listed(found, page.limit, shown))


async def _upload(http: HttpRequest) -> ASGIApp:
    desk: Desk = http.app.state.desk
    limit = desk.settings.serve.max_file_bytes
    if not http.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Invalid("a file comes as multipart/form-data", hint="client.files.create(file=…, purpose='batch')")
    counted = HttpRequest(http.scope, _counted(http.receive, limit + AROUND, limit))
    try:
        async with counted.form(max_files=1, max_fields=8) as form:
            sent = form.get("file")
            if sent is None or isinstance(sent, str):
                raise Invalid("there is no file in the form", at="file")
            if form.get("purpose") != "batch":
                raise Invalid("purpose is batch: files are taken for nothing else", at="purpose")
            async with http.app.state.batches.room:  # a file is in memory while it is written
                data = await sent.read()
                if len(data) > limit:
                    raise _too_large(limit)
                name = (sent.filename or "file")[:MOST_NAME]
                made = await keep_file(desk, new_file(key_of(http).tenant, name, "batch"), data)
    except ClientDisconnect as error:
        raise Invalid("the caller left before the end of its body") from error
    except (HTTPException, MultiPartException) as error:
        raise Invalid("the body is no form with one file", hint="client.files.create(file=…)") from error
    return said(shown(made))


def _counted(receive: Receive, most: int, limit: int) -> Receive:
    """`receive`, which raises `TooLarge` as soon as more than `most` bytes came."""
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > most:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the file is larger than {limit:,} bytes", hint="serve.max_file_bytes sets the limit")
