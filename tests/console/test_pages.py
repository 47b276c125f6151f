"""What the pages say, and that a person's word through them is the same as at the terminal."""

import msgspec
import pytest
from seated import seated, send

from insource.console.pages import parted
from insource.nouns import Cause, Report, stamp
from insource.review import Piece, marked, matching

REVIEW = "/console/tasks/tickets/review"


async def test_the_overview_counts_what_is_on_record(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        for text in ("refund please", "refund this", "unsure about it"):
            await place.asked(text)
        text = (await web.get("/console/")).text
        assert "66.7%" in text and "33.3%" in text and "a person" in text
        assert "1 to review" in text


async def test_the_queue_is_counted_on_every_tab_and_only_what_is_typed_stands_as_code(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        await place.asked("unsure about it")
        for tab in ("", "/review", "/drift"):
            assert '<span class="count">1</span>' in (await web.get(f"/console/tasks/tickets{tab}")).text, tab
        cause = Cause(cause="c", words="w", next="insource improve tickets, or insource release rollback tickets")
        await place.store.alerts.note("tickets", [cause], (), stamp(0.0))
        text = (await web.get("/console/")).text
        assert "<code>insource improve tickets</code>, or <code>insource release rollback tickets</code>" in text


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ("insource review t, then insource improve t", ["insource review t", "insource improve t"]),
        ("insource answer t --input TEXT shows what an engine says", ["insource answer t --input TEXT"]),
        ("send a tenth of the traffic to the gateway with model = t", []),
        ("insource release show t@1.0.0", ["insource release show t@1.0.0"]),
    ],
)
def test_what_is_to_be_typed_is_told_from_the_words_around_it(words, typed):
    assert "".join(parted(words)) == words
    assert parted(words)[1::2] == typed


async def test_an_empty_workspace_says_what_comes_first(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        assert "No call yet" in (await web.get("/console/calls")).text
        assert "Nothing waits for a person" in (await web.get(REVIEW)).text
        assert "insource measure" in (await web.get("/console/reports")).text
        assert "nothing of tickets is live" in (await web.get("/console/tasks/tickets/drift")).text
        (tmp_path / "tasks" / "tickets.toml").unlink()
        assert "insource init" in (await web.get("/console/")).text


async def test_a_task_file_that_cannot_be_read_hides_no_other(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        (tmp_path / "tasks" / "broken.toml").write_text('name = "broken"\nkind = "divine"\n')
        found = await web.get("/console/")
        assert found.status_code == 200 and "broken" in found.text and 'id="task-tickets"' in found.text
        assert (await web.get("/console/governance")).status_code == 200


async def test_a_call_is_explained(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        sure, unsure = await place.asked("refund please"), await place.asked("unsure about it")
        text = (await web.get(f"/console/calls/{sure.id}")).text
        assert "Answered" in text and "confidence 0.97 reaches 0.85" in text and "refund please" not in text
        text = (await web.get(f"/console/calls/{unsure.id}")).text
        assert "Waits for a person" in text and "confidence 0.62 is below 0.85" in text and "unsure about it" in text
        found = await web.get("/console/calls", params={"record": sure.id})
        assert found.url.path == f"/console/calls/{sure.id}"


async def test_calls_are_found_by_what_is_known_of_them(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        sure, unsure = await place.asked("refund please"), await place.asked("unsure about it")

        async def found(**query: str) -> set[str]:
            text = (await web.get("/console/calls", params=query)).text
            return {record.id for record in (sure, unsure) if record.id in text}

        assert await found() == {sure.id, unsure.id}
        assert await found(outcome="review") == {unsure.id}
        assert await found(below="90") == {unsure.id}
        assert await found(task="tickets", release="tickets@1.0.0", since="2026-01-01") == {sure.id, unsure.id}
        assert await found(until="2026-01-01") == set()
        assert (await web.get("/console/calls", params={"below": "many"})).status_code == 400
        assert (await web.get("/console/calls", params={"outcome": "lost"})).status_code == 400


async def test_older_calls_are_a_page_away_and_filters_stay(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        asked = [await place.asked(f"refund {i}") for i in range(60)]
        first = (await web.get("/console/calls?outcome=answered")).text
        assert sum(one.id in first for one in asked) == 50 and "outcome=answered&amp;before=" in first
        rest = first.rpartition('href="/console/calls?')[2].partition('"')[0].replace("&amp;", "&")
        second = (await web.get(f"/console/calls?{rest}")).text
        assert sum(one.id in second for one in asked) == 10 and "Older calls" not in second


@pytest.mark.parametrize(
    ("fields", "verdict", "corrected"),
    [
        ({"act": "right"}, "right", None),
        ({"field-intent": "status"}, "right", None),
        ({"field-intent": "refund"}, "wrong", {"intent": "refund"}),
        ({"act": "choose", "other-intent": "other"}, "wrong", {"intent": "other"}),
        ({"act": "wrong"}, "wrong", None),
        ({"act": "unsure"}, "unsure", None),
        ({"act": "none", "note": "there is no label for it"}, "none_of_these", None),
    ],
)
async def test_a_verdict(tmp_path, fields, verdict, corrected):
    async with seated(tmp_path, network=True) as place:
        record = (await place.asked("unsure about it")).id
        async with place.seat(await place.key("ada", "reviewer")) as web:
            done = await send(web, REVIEW, record=record, **fields)
            assert done.status_code == 200 and "you settled <strong>1</strong>" in done.text, done.text
        ((_, review),) = await place.store.reviews("tickets")
        assert (review.record, review.verdict, review.corrected) == (record, verdict, corrected)
        assert review.reviewer == "ada" and review.note == fields.get("note", "")


@pytest.mark.parametrize("fields", [{}, {"act": "choose"}, {"act": "maybe"}, {"field-intent": "no such label"}])
async def test_no_verdict_settles_nothing(tmp_path, fields):
    async with seated(tmp_path) as place, place.seat() as web:
        record = (await place.asked("unsure about it")).id
        done = await send(web, REVIEW, record=record, **fields)
        assert done.status_code == 409 and 'role="alert"' in done.text and "unsure about it" in done.text
        assert len(await place.store.pending("tickets")) == 1


async def test_two_people_hold_two_items_and_skip_comes_back_last(tmp_path):
    async with seated(tmp_path, network=True) as place:
        texts = [f"unsure about {name}" for name in ("one", "two", "three")]
        records = {(await place.asked(text)).id: text for text in texts}

        async def shown(web) -> str:
            page = (await web.get(REVIEW)).text
            (record,) = [record for record in records if f'value="{record}"' in page]
            assert records[record] in page
            return record

        async with (
            place.seat(await place.key("ada", "reviewer")) as ada,
            place.seat(await place.key("bob", "reviewer")) as bob,
        ):
            first, second = await shown(ada), await shown(bob)
            assert first != second and await shown(ada) == first
            late = await send(bob, REVIEW, record=first, act="right")
            assert late.status_code == 409 and "ada looks at" in late.text
            await send(ada, REVIEW, record=first, act="skip")
            third = await shown(ada)
            assert third not in (first, second)
            await send(ada, REVIEW, record=third, act="right")
            assert await shown(ada) == first  # all that is left was left for later: now is later


async def test_the_last_verdict_can_be_taken_back_once(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        record = (await place.asked("unsure about it")).id
        await send(web, REVIEW, record=record, act="wrong")
        assert await place.store.pending("tickets") == []
        back = await send(web, REVIEW, act="undo")
        assert "it waits again" in back.text and f'value="{record}"' in back.text
        assert [one.record for one in await place.store.pending("tickets")] == [record]
        again = await send(web, REVIEW, act="undo")
        assert again.status_code == 409 and "nothing to take back" in again.text
        assert (await place.store.verify_chain()).faults == ()


async def test_labels_are_looked_for_by_words(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        found = msgspec.json.decode((await web.get("/console/tasks/tickets/labels", params={"q": "fun re"})).content)
        assert found == {"labels": ["refund"], "of": 3}


def test_the_best_label_comes_first():
    labels = ["Farming / Crops / Soybean", "Farming / Soy / Other", "Soy", "Mining / Copper"]
    assert matching(labels, "soy") == ["Soy", "Farming / Soy / Other", "Farming / Crops / Soybean"]
    assert matching(labels, "crops farm") == ["Farming / Crops / Soybean"]
    assert matching(labels, "tin") == [] and matching(labels, "", 2) == labels[:2]


def test_values_are_marked_where_they_stand_and_the_text_is_whole():
    text = "Invoice A-17 of 12 May: 12 pallets, due 99.5"
    pieces = marked(text, {"number": "a-17", "total": 99.5, "lines": [{"n": 12}, {"n": 12}], "paid": True, "tax": None})
    assert "".join(piece.text for piece in pieces) == text
    assert [(piece.field, piece.text) for piece in pieces if piece.field] == [
        ("number", "A-17"), ("lines.n", "12"), ("lines.n", "12"), ("total", "99.5"),
    ]  # fmt: skip
    assert marked("İstanbul", {"city": "x" * 3}) == [Piece(text="İstanbul")]


async def test_a_report_is_its_own_page_without_a_script(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        report = Report(id="r" * 64, task="tickets", dataset="d", split="test", candidates=(), created="2026-11-27")
        await place.store.save_report(report)
        assert "r" * 64 in (await web.get("/console/reports")).text
        found = await web.get(f"/console/reports/{'r' * 64}")
        assert "Nothing was measured" in found.text and "script-src" not in found.headers["content-security-policy"]


async def test_what_answered_at_a_time(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        assert "nothing was live" in (await web.get("/console/tasks/tickets?at=2026-11-27")).text
        assert "is no time" in (await web.get("/console/tasks/tickets?at=yesterday")).text


async def test_the_record_is_verified_on_demand(tmp_path):
    async with seated(tmp_path) as place, place.seat() as web:
        await place.asked("refund please")
        assert "Look at every entry now" in (await web.get("/console/governance")).text
        assert "Whole:" in (await web.get("/console/governance?verify=1")).text
