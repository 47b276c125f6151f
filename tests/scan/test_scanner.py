"""What is done about what is found, that nothing passes a broken scan, and that the map of originals stays hidden."""

import copy
import json
import logging
import traceback
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from insource.errors import InsourceError, Invalid, ScanFailed
from insource.nouns import ACTIONS, Action, ScanPolicy, to_json
from insource.scan.find import View
from insource.scan.originals import Originals
from insource.scan.scanner import Scanned, Scanner, Stream
from insource.scan.values import scan_arguments, scan_value

SECRET = "ada.lovelace@example.com"
TEXT = f"Write to {SECRET} today."
NAUGHTY = Path(__file__).parents[3] / "shared" / "data" / "naughty_strings" / "blns.json"


class Broken:
    """A model for names that fails, and repeats the text in what it says."""

    def __init__(self, error: type[BaseException] = RuntimeError) -> None:
        self.error = error

    def find(self, text: str) -> Iterable[tuple[str, int, int]]:
        raise self.error(f"cannot read {text!r}")


class Wrong:
    """A model that says what cannot be."""

    def __init__(self, *said: object) -> None:
        self.said = said

    def find(self, text: str) -> list[tuple[str, int, int]]:
        return [self.said]  # type: ignore[list-item]


def scanner(**actions: Action) -> Scanner:
    return Scanner(ScanPolicy(actions=actions))


@pytest.mark.parametrize(
    ("action", "text"), [("note", TEXT), ("review", TEXT), ("block", ""), ("redact", "Write to [email 1] today.")]
)
def test_each_action_does_what_it_says(action: Action, text: str) -> None:
    done = scanner(email=action).scan(TEXT)
    assert (done.action, done.text, len(done.findings)) == (action, text, 1)


def test_the_strictest_action_is_told_and_each_kind_gets_its_own() -> None:
    made = scanner(email="redact", card="review", ip_address="note")
    done = made.scan(f"{SECRET} 4111111111111111 10.0.0.1")
    assert (done.action, done.text) == ("review", "[email 1] 4111111111111111 10.0.0.1")
    assert made.scan("nothing here") == Scanned(text="nothing here")
    assert [ScanPolicy(actions={"a": action}).strictest(()) for action in ACTIONS] == [None] * 4


def test_the_same_thing_has_the_same_placeholder_across_the_texts_of_a_call() -> None:
    made, originals = scanner(email="redact"), Originals()
    said = [made.scan(text, originals).text for text in ("a@x.org b@x.org a@x.org", "b@x.org c@x.org")]
    assert said == ["[email 1] [email 2] [email 1]", "[email 2] [email 3]"]
    assert [originals.restore(text) for text in said] == ["a@x.org b@x.org a@x.org", "b@x.org c@x.org"]


def test_what_two_findings_share_belongs_to_the_first_and_nothing_of_either_is_left() -> None:
    text = "https://example.org/?mail=joe@example.com&k=AKIAIOSFODNN7EXAMPLE"
    done = scanner(url="redact", email="redact", api_key="redact").scan(text, originals := Originals())
    assert done.text == "[url 1]"
    assert originals.restore(done.text) == text
    assert {one.kind for one in done.findings} == {"url", "email", "api_key"}
    assert scanner(url="note", api_key="block").scan(text).text == ""


def test_an_answer_that_speaks_of_placeholders_gets_ours_back_and_no_others() -> None:
    made, asked = scanner(email="redact"), Originals()
    assert made.scan(f"{SECRET}, not [email 7]", asked).text == "[email 1], not [placeholder 1]"
    answer = made.scan("To [email 1], copy new@example.com, [email 9]", asked.beyond())
    assert answer.text == "To [email 1], copy [email 2], [email 9]"
    assert asked.restore(answer.text) == f"To {SECRET}, copy [email 2], [email 9]"


def test_originals_cannot_be_logged_written_or_copied_by_mistake(caplog: pytest.LogCaptureFixture) -> None:
    originals = Originals()
    scanner(email="redact").scan(TEXT, originals)
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r %s", originals, originals, [originals])
    assert SECRET not in caplog.text + str(originals) + f"{originals!r}"
    for write in (to_json, json.dumps, copy.deepcopy, msgspec.msgpack.encode):
        with pytest.raises(TypeError):
            write(originals)


def test_findings_do_not_say_what_was_found() -> None:
    done = scanner(email="note").scan(TEXT)
    assert SECRET not in to_json(done.findings).decode()
    assert TEXT[done.findings[0].start : done.findings[0].stop] == SECRET


@pytest.mark.parametrize(
    "error", [RuntimeError, ValueError, KeyError, MemoryError, RecursionError, OSError, AssertionError]
)
def test_a_broken_recogniser_is_a_refusal_and_never_a_pass(error: type[Exception]) -> None:
    made = Scanner(ScanPolicy(actions={"person": "redact", "email": "note"}), names=Broken(error))
    for scan in (
        made.scan,
        Stream(made).close,
        lambda text: scan_value([text], made),
        lambda text: scan_arguments(text, made),
    ):
        with pytest.raises(ScanFailed) as refused:
            scan(TEXT)
        assert (refused.value.status, refused.value.retryable) == (503, True)
        assert SECRET not in str(refused.value)
        told = traceback.TracebackException.from_exception(refused.value)
        assert SECRET not in "".join(line for line in told.format(chain=True) if "Error" in line)


def test_a_stream_that_failed_stays_shut() -> None:
    stream = Stream(Scanner(ScanPolicy(actions={"person": "redact"}), names=Broken()))
    assert stream.feed("no sentence yet").text == ""
    with pytest.raises(ScanFailed):
        stream.feed(". And ")
    for go_on in (stream.feed, stream.close):
        with pytest.raises(ScanFailed):
            go_on("on")


def test_a_stream_that_ended_or_was_blocked_takes_no_more() -> None:
    ended, blocked = Stream(scanner(email="note")), Stream(scanner(email="block"))
    ended.close("a")
    assert blocked.feed(TEXT).action == "block"
    for stream in (ended, blocked):
        with pytest.raises(ScanFailed):
            stream.feed("more")


@pytest.mark.parametrize(
    "said", [("person", 0, 999), ("person", 3, 3), ("person", -1, 2), ("colour", 0, 2), ("person",), "x"]
)
def test_a_model_that_says_what_cannot_be_is_a_refusal(said: tuple[object, ...]) -> None:
    with pytest.raises(InsourceError):
        Scanner(ScanPolicy(actions={"person": "note"}), names=Wrong(*said)).scan(TEXT)


@pytest.mark.parametrize("kind", ["own_term", "person", "colour", "placeholder"])
def test_a_policy_that_cannot_be_kept_is_refused_before_any_text_is_read(kind: str) -> None:
    with pytest.raises(Invalid, match=kind):
        scanner(**{kind: "block"})


def test_a_region_can_be_chosen() -> None:
    policy = ScanPolicy(actions={"phone": "note"})
    assert Scanner(policy, regions=("NZ",)).scan("on 03-477 4000 x").findings
    assert not Scanner(policy, regions=("US",)).scan("on 03-477 4000 x").findings


def test_a_view_with_nothing_to_look_for_lets_all_through() -> None:
    made = Scanner(ScanPolicy())
    assert made.scan(TEXT) == Scanned(text=TEXT)
    assert Stream(made).feed("a").text == "a"
    assert View("é").lined == b"\n\xaa\n"


def test_naughty_strings_pass_whole_and_in_pieces(everything: Scanner) -> None:
    if not NAUGHTY.exists():
        pytest.skip("the naughty strings are not here")
    strings = json.loads(NAUGHTY.read_text("utf-8"))
    assert len(strings) > 500
    for text in strings:
        done = everything.scan(text, originals := Originals())
        assert originals.restore(done.text) == text
        stream = Stream(everything)
        pieces = [stream.feed(character) for character in text]
        assert "".join(each.text for each in (*pieces, stream.close())) == everything.scan(text).text
