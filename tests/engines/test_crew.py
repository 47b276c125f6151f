"""One engine on many machines: whatever is lost with one of them is asked again of another, once each."""

import asyncio
import threading
from collections import Counter

import msgspec
import pytest

from insource.engines.crew import CRASHES, Crew
from insource.engines.crew_wire import Answer, Fault, batch_of, fault_of, requests_of
from insource.errors import EngineDown, EngineError, EngineSlow, Invalid, Refused
from insource.nouns import Output, Prediction, Task, ask, to_json

TASK = Task(name="t", kind="classify", outputs=(Output(name="label", labels=("a", "b")),))
POISON = "poison"


class Machine:
    """Answers each text with itself, reading four at once, until it is `lost` or is asked what ends it."""

    reads = 4

    def __init__(self, staff, place):
        self.staff, self.place, self.asked, self.lost, self.dismissed = staff, place, Counter(), False, False
        self.sizes = []

    async def ask(self, batch):
        texts = [request.input for request in requests_of(batch)]
        self.sizes.append(len(texts))
        self.asked.update(texts)
        await self.staff.turn(self)
        if self.lost or POISON in texts:
            return None
        return to_json([self.answer(text) for text in texts])

    def answer(self, text):
        if text == "invalid":
            return Answer(fault=Fault(code="invalid_request", message="no", hint="say yes"))
        self.staff.answered[text] += 1
        return Answer(prediction=Prediction(text=text, value={"label": "a"}, engine="e"))

    def dismiss(self):
        self.dismissed = True


class People:
    """Machines as they come: `there` are the places, `hired` everybody who ever was."""

    def __init__(self, *there, unfit=None):
        self.there, self.unfit, self.hired, self.closed = list(there), unfit or {}, [], False
        self.answered, self.gate, self.held = Counter(), threading.Event(), set()
        self.lose = lambda machine: False

    def places(self):
        return list(self.there)

    def hire(self, place):
        if place in self.unfit:
            raise self.unfit[place]
        self.hired.append(Machine(self, place))
        return self.hired[-1]

    def close(self):
        self.closed = True

    async def turn(self, machine):
        await asyncio.sleep(0.001)
        if self.lose(machine):
            machine.lost = True
        while machine.place in self.held:
            await asyncio.sleep(0.001)


async def answers(crew, texts):
    asked = [ask(TASK, text, id=f"{i:032x}") for i, text in enumerate(texts)]
    return await asyncio.gather(*[crew.complete(each) for each in asked], return_exceptions=True)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr("insource.engines.crew.LOOK_S", 0.01)


async def test_every_request_is_answered_once_by_machines_that_share_the_work():
    people = People("one", "two", "three")
    crew = Crew("e", people)
    said = await answers(crew, texts := [f"t{i}" for i in range(100)])
    await crew.close()
    assert [one.text for one in said] == texts
    assert set(people.answered.values()) == {1}
    assert {machine.place for machine in people.hired if machine.asked} == {"one", "two", "three"}
    assert max(size for machine in people.hired for size in machine.sizes) == 4
    assert people.closed
    assert crew.reads_at_once == 2 * 3 * 4


async def test_what_a_lost_machine_was_at_work_on_is_asked_again_and_answered_once():
    people, told = People("one", "two"), []
    people.lose = lambda machine: machine is people.hired[0] and len(machine.sizes) >= 3
    crew = Crew("e", people, tell=told.append)
    said = await answers(crew, texts := [f"t{i}" for i in range(60)])
    await crew.close()
    assert [one.text for one in said] == texts
    assert set(people.answered.values()) == {1}
    first = people.hired[0]
    assert first.lost
    assert first.dismissed
    assert told[0].startswith(f"e: lost {first.place}, ")


async def test_a_request_that_ends_every_machine_ends_three_and_costs_no_other_its_answer():
    people = People("one", "two")
    crew = Crew("e", people)
    texts = [f"t{i}" for i in range(20)] + [POISON] + [f"u{i}" for i in range(20)]
    said = await answers(crew, texts)
    await crew.close()
    failed = [one for one in said if isinstance(one, Exception)]
    assert [type(one) for one in failed] == [EngineError]
    assert "3 machines" in str(failed[0])
    assert not failed[0].retryable
    assert [one.text for one in said if not isinstance(one, Exception)] == [text for text in texts if text != POISON]
    assert sum(POISON in machine.asked for machine in people.hired) == 3


async def test_of_many_poisoned_requests_on_one_machine_each_fails_alone():
    people = People("one")
    crew = Crew("e", people)
    said = await answers(crew, [POISON, "a", POISON, "b", "c", "d"])
    await crew.close()
    assert [getattr(one, "text", type(one)) for one in said] == [EngineError, "a", EngineError, "b", "c", "d"]


async def test_a_suspect_is_asked_while_others_keep_coming():
    people = People("one")
    people.lose = lambda machine: len(people.hired) == 1
    crew, over = Crew("e", people), asyncio.Event()

    async def others():
        while not over.is_set():
            await answers(crew, ["x"])

    busy = [asyncio.create_task(others()) for _ in range(20)]
    said = await asyncio.wait_for(answers(crew, ["a", "b", "c"]), 10)
    over.set()
    await asyncio.gather(*busy)
    await crew.close()
    assert [one.text for one in said] == ["a", "b", "c"]


async def test_a_machine_that_comes_later_takes_work_too():
    people = People("one")
    people.held = {"one"}
    crew = Crew("e", people)
    waiting = asyncio.create_task(answers(crew, [f"t{i}" for i in range(40)]))
    await asyncio.sleep(0.05)
    people.there.append("two")
    while people.answered.total() < 30:
        await asyncio.sleep(0.01)
    people.held = set()
    await waiting
    await crew.close()
    assert set(people.answered.values()) == {1}
    assert next(machine for machine in people.hired if machine.place == "two").asked.total() >= 30


async def test_with_nobody_left_callers_are_told_and_later_ones_too():
    people = People("one")
    people.lose = lambda machine: people.there.clear() is None
    crew = Crew("e", people, alone_s=0.1)
    for _ in range(2):
        said = await asyncio.wait_for(answers(crew, ["a", "b"]), 10)
        assert [type(one) for one in said] == [EngineDown, EngineDown]
        assert said[0].hint
    people.there, people.lose = ["two"], lambda machine: False
    await asyncio.sleep(0.1)
    assert [one.text for one in await answers(crew, ["c"])] == ["c"]
    await crew.close()


async def test_a_place_where_everything_ends_is_left_alone():
    people = People("one", "two")
    people.lose = lambda machine: machine.place == "one"
    crew = Crew("e", people)
    for _ in range(CRASHES * 4):
        assert [one.text for one in await answers(crew, ["a", "b"])] == ["a", "b"]
        await asyncio.sleep(0.012)
    await crew.close()
    assert sum(machine.place == "one" for machine in people.hired) == CRASHES


async def test_a_place_that_could_not_be_taken_on_is_tried_again_while_others_work(monkeypatch):
    monkeypatch.setattr("insource.engines.crew.AGAIN_S", 0.05)
    people = People("one", "two", unfit={"two": EngineDown("no room yet")})
    crew = Crew("e", people)
    await answers(crew, ["a"])
    assert crew.size == (1, 2)
    people.unfit = {}
    while crew.size != (2, 2):
        await asyncio.sleep(0.01)
    await crew.close()


async def test_nobody_waits_for_a_place_that_is_tried_again_and_again(monkeypatch):
    monkeypatch.setattr("insource.engines.crew.AGAIN_S", 0.0)
    people = People("one", "two", unfit={"two": EngineDown("no room yet")})
    crew = Crew("e", people, alone_s=0.1)
    await answers(crew, ["a"])
    people.lose, people.unfit = lambda machine: True, {place: EngineDown("no room yet") for place in people.there}
    said = await asyncio.wait_for(answers(crew, ["b"]), 10)
    await crew.close()
    assert [str(one) for one in said] == ["no room yet"]


def test_without_a_place_it_does_not_open():
    people = People()
    with pytest.raises(EngineDown, match="no machine") as told:
        Crew("e", people)
    assert told.value.hint
    assert people.closed


def test_it_opens_where_one_machine_can_and_says_why_where_none():
    people = People("one", "two", unfit={"one": Refused("another artefact", hint="install it again")})
    assert Crew("e", people).size == (1, 2)
    with pytest.raises(Refused, match="another artefact") as told:
        Crew("e", People("one", unfit=people.unfit))
    assert told.value.hint == "install it again"


async def test_a_fault_there_is_the_same_fault_here():
    crew = Crew("e", People("one"))
    (said,) = await answers(crew, ["invalid"])
    await crew.close()
    assert type(said) is Invalid
    assert (str(said), said.hint) == ("no", "say yes")


async def test_nobody_waits_past_the_deadline():
    people = People("one")
    people.held = {"one"}
    crew = Crew("e", people)
    with pytest.raises(EngineSlow):
        await crew.complete(msgspec.structs.replace(ask(TASK, "a", id="1" * 32), deadline=0.05))
    people.held = set()
    await crew.close()


async def test_after_it_is_closed_nobody_waits():
    people = People("one")
    people.held = {"one"}
    crew = Crew("e", people)
    waiting = asyncio.create_task(answers(crew, [f"t{i}" for i in range(20)]))
    await asyncio.sleep(0.02)
    await crew.close()
    said = await asyncio.wait_for(waiting, 5)
    assert {type(one) for one in said} == {EngineDown}


async def test_whatever_goes_wrong_with_a_batch_its_callers_are_told():
    people = People("one")
    crew = Crew("e", people)
    people.hired[0].answer = lambda text: 1 / 0
    said = await asyncio.wait_for(answers(crew, ["a", "b"]), 5)
    assert [type(one) for one in said] == [EngineDown, EngineDown]
    assert said[0] is not said[1]

    async def nonsense(batch):
        return b"[]"

    people.hired[0].ask = nonsense
    said = await asyncio.wait_for(answers(crew, ["a", "b"]), 5)
    await crew.close()
    assert "0 answers to 2" in str(said[0])


async def test_half_a_character_is_asked_as_engines_here_read_it():
    crew = Crew("e", People("one"))
    said = await answers(crew, ["a \ud800 b", "c"])
    await crew.close()
    assert [one.text for one in said] == ["a ? b", "c"]


def test_a_batch_holds_a_task_once_and_brings_back_the_same_requests():
    asked = [ask(TASK, "a", id="1" * 32), ask(TASK, "b", id="2" * 32)]
    batch = batch_of(asked)
    assert batch.count(b'"labels"') == 1
    back = requests_of(batch)
    assert back == asked
    assert back[0].task is back[1].task
    assert requests_of(batch)[0].task is back[0].task


def test_an_error_that_is_not_ours_takes_no_words_along():
    fault = fault_of(ValueError("a secret text"))
    assert "secret" not in to_json(fault).decode()
    assert isinstance(fault.error, EngineDown)
