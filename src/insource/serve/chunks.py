"""A chat answer as the chunks of a stream: one that is there already, or one that comes."""

import time

from insource.journeys.relay import Told
from insource.nouns import JsonObject, Record
from insource.serve import wire
from insource.serve.ask import Answered
from insource.serve.chat_call import ChatCall
from insource.serve.headers import headers
from insource.serve.stream import GAP, Events, Words, event

BEGUN: JsonObject = {"role": "assistant", "content": ""}


async def decided(answered: Answered, call: ChatCall, created: int) -> Events:
    """The events behind the first one, of an answer that is whole."""
    task, first = answered.path.task, answered.records[0]
    model = first.release or call.model
    for index, record in enumerate(answered.records):
        if index:
            yield event(wire.chunk(first.id, call, model, created, BEGUN, index))
        content = wire.content_of(record, task)
        if content:
            yield event(wire.chunk(first.id, call, model, created, {"content": content}, index))
        last = wire.last_chunk(record, call, task, model, created, index)
        yield event(last | {"id": f"chatcmpl-{first.id}"})
    if call.usage_chunk:
        yield event(wire.usage_chunk(answered.records, call, model, created))


class Chunks:
    """What becomes of an engine's words and of the record behind them. `said` is told what the record says of them."""

    def __init__(self, call: ChatCall, id: str, said: dict[str, str]) -> None:
        self._call, self._id, self._said = call, id, said
        self._created, self._begun, self._in_pieces = int(time.time()), BEGUN, False
        self._words = Words(self._chunk({"content": GAP}))

    def events(self, told: list[Told]) -> bytes:
        """The events of what was told at once."""
        return b"".join([self._event(piece) for piece in told])

    def _event(self, piece: Told) -> bytes:
        begun, self._begun = self._begun, {}
        if isinstance(piece, str):
            return event(self._chunk(begun | {"content": piece})) if begun else self._words.event(piece)
        if isinstance(piece, Record):
            self._said |= headers(piece)
            return (event(self._chunk(begun)) if begun else b"") + self._ended(piece)
        self._in_pieces = True
        return event(self._chunk((begun | {"content": None} if begun else {}) | wire.call_delta(piece)))

    def _ended(self, record: Record) -> bytes:
        last = wire.last_chunk(record, self._call, None, self._call.model, self._created)
        if self._in_pieces:  # what it calls is told already
            last["choices"][0]["delta"] = {}
        if not self._call.usage_chunk:
            return event(last)
        return event(last) + event(wire.usage_chunk((record,), self._call, self._call.model, self._created))

    def _chunk(self, delta: JsonObject) -> JsonObject:
        return wire.chunk(self._id, self._call, self._call.model, self._created, delta)
