# ruff: noqa: S311 - draws from a seed
"""The drills of bench/hostile.py, small; and that each of them sees what it is there to see."""

import argparse
import json
import random
import sys
from pathlib import Path

import pytest

from insource.settings import cache_folder

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import hostile
import hostile_audit
import hostile_bodies
import hostile_raw
import hostile_rows
import hostile_tenants
from hostile_place import Seen, foreign_lines, good, in_form, made, served, upstream

PIECES = (
    b"Transfer-Encoding: chunked\r\nContent-Length", b"PRI * HTTP/2.0", b"\x00", b"HTTP/0.9", b"http://evil",
    b"Expect: 100-continue", b"Upgrade: h2c", b"Host: evil.example", b"X: a\r\n b", b"ffffffffffffffff\r\n",
)  # fmt: skip
ERROR = b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"x"}}'


def test_what_may_not_be_is_noted_and_what_may_is_not():
    seen = Seen()
    for status, body in ((200, b"{}"), (422, ERROR), (502, ERROR), (503, ERROR)):
        seen.answer(status, body, "call")
    seen.answer(405, b"", "HEAD", bare=True)
    assert (seen.calls, seen.failed) == (5, 0)
    for status, body in ((500, ERROR), (504, ERROR), (404, b"Not Found"), (503, b"{}"), (422, ERROR[:-1])):
        seen.answer(status, body, "call")
    seen.silence("TimeoutError", "call")
    assert (seen.calls, seen.failed, len(seen.faults)) == (11, 6, 6)
    assert not in_form(b'{"error":{"message":"","type":"","param":null,"code":""}}')


def test_a_line_of_a_caller_in_the_log_is_seen():
    call = {"time": "t", "level": "info", "event": "call", "record": "1", "task": "tickets", "tenant": "local"}
    ours = b"\n".join(json.dumps(line).encode() for line in (call, {"event": "notice", "message": "ready"}))
    assert foreign_lines(ours, b"zqx7") == []
    for line in (
        b"Traceback",
        b'{"event":"call","text":"x"}',
        b'{"event":"other"}',
        b'{"event":"notice","message":"zqx7"}',
    ):
        assert len(foreign_lines(ours + b"\n" + line, b"zqx7")) == 1


def test_the_grammar_of_faults_is_drawn_from_a_seed_and_reaches_all_of_its_kinds():
    def some(seed: int) -> list[bytes]:
        dice = random.Random(seed)
        return [hostile_raw.drawn(dice, "key") for _ in range(2_500)]

    assert some(1) == some(1) != some(2)
    drawn = b"\0".join(some(1))
    for piece in PIECES:
        assert piece in drawn, piece


def test_answers_on_one_connection_are_told_apart():
    one = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    other = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(ERROR), ERROR)
    said = b"HTTP/1.1 100 Continue\r\n\r\n" + one + other
    assert hostile_raw.split(said, b"GET /") == [(200, b"{}", False), (404, ERROR, False)]
    assert hostile_raw.split(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"HEAD /") == [(200, b"", True)]
    assert hostile_raw.split(b"", b"GET /") == []


def test_a_sound_body_is_broken_in_many_ways():
    dice = random.Random(1)
    body = json.dumps(good("hub")).encode()
    assert len({hostile_bodies.broken(body, dice) for _ in range(300)}) > 250


async def test_tampering_of_every_kind_is_found_and_the_untouched_copy_is_whole(tmp_path):
    found = await hostile_audit.tampering(tmp_path, 40, 40, 11)
    assert found["by_kind"] == dict.fromkeys(hostile_audit.KINDS, 8)
    assert (found["missed"], found["found_as_errors"]) == (0, 0), found["missed_by"]
    assert found["control"] == {"faults": [], "by_verb": 0}


async def test_without_its_checkpoint_the_sly_ways_are_missed(tmp_path):
    (tmp_path / "insource.toml").touch()
    settings = await hostile_audit.filled(tmp_path, 40)
    (settings.state / "checkpoints.jsonl").unlink()
    written = (settings.state / "insource.db").read_bytes()
    for change in (hostile_audit.edit_slyly, hostile_audit.delete_slyly, hostile_audit.reorder_slyly):
        hostile_audit.restored(settings.state / "insource.db", written)
        with hostile_audit.opened(settings.state / "insource.db") as db:
            change(db, random.Random(5))
        assert await hostile_audit.verified(settings) == [], "the drill would not need a checkpoint"


@pytest.mark.slow
async def test_bad_input_of_every_kind_ends_in_declared_answers_and_no_death(tmp_path, shared):
    given = argparse.Namespace(
        data=str(shared),
        cases=400,
        raw=400,
        broken=400,
        most=40,
        seed=3,
        slow=False,
        venv=cache_folder() / "schemathesis",
    )
    found = await hostile.hostile_input(given, tmp_path)
    for name, block in found["blocks"].items():
        assert (block["failed"], block["faults"]) == (0, []), name
        assert (block["alive"], block["under_way"], block["log_samples"]) == (True, 0, []), name
        assert block["calls"] >= 400, name
        assert block["memory_mb"]["peak"] <= hostile_rows.MOST_MB, name


@pytest.mark.slow
async def test_nothing_of_one_tenant_comes_across_to_another_and_the_controls_do(tmp_path):
    found = await hostile_tenants.tenants(tmp_path, 300, 3)
    assert (found["crossed"], found["answered_otherwise"], found["alive"]) == (0, {}, True)
    assert set(found["tried"]) == {way.__name__ for way in hostile_tenants.WAYS}
    assert {name: n for name, n in found["on_record"].items() if name != "records"} == {
        "misplaced": 0, "hashes_shared": 0, "sums_that_differ": 0,
    }  # fmt: skip
    assert all(control["crossed"] > 0 for control in found["controls"].values())


@pytest.mark.slow
async def test_a_gateway_that_fails_its_callers_is_seen_to(tmp_path):
    """The negative control: a gateway whose bodies are read without care."""
    careless = tmp_path / "careless.py"
    careless.write_text(CARELESS)
    async with upstream() as far:
        (key,) = await made(tmp_path / "place", far)
        async with served(tmp_path / "place", key, (str(careless),)) as place:
            seen = await hostile_bodies.broken_bodies(place, 60, 3)
            assert seen.failed > 10
            assert foreign_lines(place.log(), b"zqx7"), "and its log holds what no log may"
            assert await place.lives()


CARELESS = """
import json, sys, traceback
from insource.serve import wire
def read(body, form, what):
    try:
        return wire.msgspec.convert(json.loads(body), form)
    except ValueError:
        traceback.print_exc()
        raise RuntimeError(body)
wire.read = read
from insource.cli.main import main
main()
"""
