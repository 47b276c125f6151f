"""Many connections send together, none of them late, and nothing is left behind."""

import asyncio

import pytest

from insource.engines.http_faults import Broken
from insource.engines.http_line import Line
from insource.engines.outbox import MOST, Outbox


class Sender:
    def __init__(self, number: int, sent: list[int]) -> None:
        self.number, self._sent = number, sent

    def send(self) -> None:
        self._sent.append(self.number)


async def test_all_of_a_turn_are_sent_behind_it_in_their_order():
    outbox, sent = Outbox(), []
    for number in range(5):
        outbox.put(Sender(number, sent))
    assert not sent
    await asyncio.sleep(0)
    assert sent == [0, 1, 2, 3, 4]


async def test_so_many_are_sent_at_once_and_the_rest_with_the_next_turn():
    outbox, sent = Outbox(), []
    for number in range(MOST + 2):
        outbox.put(Sender(number, sent))
    assert sent == [*range(MOST)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sent == [*range(MOST + 2)]


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.said, self.closing = b"", False

    def write(self, data) -> None:
        self.said += data

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


def asking(line: Line) -> "asyncio.Future[None]":
    return line.ask(b"call", asyncio.get_running_loop().time() + 5)


async def test_what_comes_before_the_call_has_left_is_no_answer_to_it():
    line, wire = Line(Outbox()), Wire()
    line.connection_made(wire)
    answer = asking(line)
    line.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    line.connection_lost(None)
    with pytest.raises(Broken):
        await answer
    await asyncio.sleep(0)
    assert wire.said == b""


async def test_a_call_that_was_given_up_does_not_leave():
    line, wire = Line(Outbox()), Wire()
    line.connection_made(wire)
    asking(line)
    line.abort()
    await asyncio.sleep(0)
    assert wire.said == b""
