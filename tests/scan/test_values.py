"""JSON values: every text of them, the names of keys, long numbers, arguments spelled with escapes."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from insource.errors import Invalid, ScanFailed
from insource.nouns import ScanPolicy
from insource.scan.originals import Originals
from insource.scan.scanner import Scanner
from insource.scan.values import scan_arguments, scan_value

SCANNER = Scanner(ScanPolicy(actions={"email": "redact", "card": "redact", "ip_address": "block", "age": "note"}))
LEAVES = some.none() | some.booleans() | some.integers(-(2**40), 2**40) | some.text(max_size=9) | some.just("a@x.org")
VALUES = some.recursive(
    LEAVES, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=4), inner, max_size=3)
)


def test_every_text_is_scanned_and_its_place_is_told() -> None:
    value = {
        "to": ["a@x.org", {"cc/b": "b@x.org", "c@x.org": 1}],
        "n": 4111111111111111,
        "f": 1.5,
        "t": True,
        "z": None,
    }
    done = scan_value(value, SCANNER)
    assert done.value == {
        "to": ["[email 1]", {"cc/b": "[email 2]", "[email 3]": 1}],
        "n": "[card 1]",
        "f": 1.5,
        "t": True,
        "z": None,
    }
    assert [one.at for one in done.findings] == ["/to/0", "/to/1/cc~1b", "/to/1/~key", "/n"]
    assert done.action == "redact"


def test_a_blocked_value_is_null_and_the_rest_is_still_told() -> None:
    done = scan_value(["10.0.0.1", "a@x.org"], SCANNER)
    assert (done.value, done.action, len(done.findings)) == (None, "block", 2)


def test_arguments_are_read_as_the_function_will_read_them() -> None:
    for spelled in (
        r'{"to":"a\u0040x.org"}',
        r'{"to":"a@x.org"}',
        '{"to":"b","to":"a@x.org"}',
        r'{"\u0074o": "a\u0040x\u002eorg"}',
    ):
        assert scan_arguments(spelled, SCANNER).text == '{"to":"[email 1]"}'
    assert "hidden" not in scan_arguments('{"to":"hidden@x.org","to":"b"}', SCANNER).text
    assert scan_arguments('{"to": a@x.org', SCANNER).text == '{"to": [email 1]'
    assert scan_arguments('{"ip": "10.0.0.1"}', SCANNER).text == ""


def test_two_keys_that_would_become_one_are_a_refusal() -> None:
    with pytest.raises(ScanFailed):
        scan_value({"a@x.org": 1, "[email 1]": 2}, SCANNER, Originals().beyond())
    assert len(scan_value({"a@x.org": 1, "[email 1]": 2}, SCANNER).value) == 2


def test_a_value_that_nests_too_deep_is_refused() -> None:
    value: object = "a@x.org"
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Invalid):
        scan_value(value, SCANNER)
    with pytest.raises(Invalid):
        scan_arguments("[" * 100 + "]" * 100, SCANNER)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_what_comes_back_is_the_value_where_nothing_was_found(value: object) -> None:
    done = scan_value(value, SCANNER)
    assert "a@x.org" not in json.dumps(done.value)
    if not done.findings:
        assert done.value == value
