"""POST /v1/feedback: what an application's own users say of an answer, by the record of its call."""

import asyncio
from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp

from insource.errors import Missing
from insource.journeys.review import Said, feedback
from insource.journeys.scanned import open_scans
from insource.nouns import JsonObject, Key, Record, Verdict, to_json
from insource.serve import wire
from insource.serve.answered import read_body
from insource.serve.auth import key_of, may_call
from insource.serve.desk import Desk
from insource.serve.faults import NOT_KEPT
from insource.settings import load_task

MOST_NOTE = 10_000


class FeedbackCall(msgspec.Struct, kw_only=True):
    """The body of POST /v1/feedback. `correct` is what the answer should have been: a label, or a value by field.

    With "none_of_these" the `note` is the label that the task lacks, if one is proposed.

    `input` is the text that the call was about: with it the verdict becomes a labelled row.
    """

    record: Annotated[str, Meta(min_length=1, max_length=64)]
    verdict: Verdict
    correct: str | JsonObject | None = None
    input: str | None = None
    note: Annotated[str, Meta(max_length=MOST_NOTE)] = ""


async def take_feedback(http: HttpRequest) -> ASGIApp:
    """Takes one verdict."""
    desk: Desk = http.app.state.desk
    key = key_of(http)
    said = wire.read(await read_body(http, desk.settings.serve.max_body_bytes), FeedbackCall, "feedback")
    record = await _record(desk, key, said.record)
    task = load_task(desk.settings, record.task or "")
    words = Said(verdict=said.verdict, correct=_words(said.correct), note=said.note, reviewer=key.name)
    scans = await asyncio.to_thread(open_scans, task.scan) if said.input else None
    review = await feedback(task, desk.store, record, words, text=said.input or "", scans=scans)
    body = {"object": "feedback", "record": record.id, "verdict": review.verdict, "corrected": review.corrected}
    return Response(to_json(body), 200, NOT_KEPT, "application/json")


async def _record(desk: Desk, key: Key, id: str) -> Record:
    """The record, if it is the caller's own: whoever may not know of it hears that there is none."""
    record = None
    with suppress(Missing):
        record = await desk.store.record(id)
    if record is None or record.tenant != key.tenant or not record.task or not may_call(key, desk.names(record.task)):
        hint = "the header x-insource-record of a task's answer names it"
        raise Missing(f"there is no record {id}", hint=hint, at="record")
    return record


def _words(correct: str | JsonObject | None) -> tuple[str, ...] | JsonObject:
    return (correct,) if isinstance(correct, str) else correct or ()
