"""`insource keys`, typed; and the text of a key."""

import json
import re

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from insource.cli.main import main
from insource.nouns import Key, digest, key_id, key_text

TEXT = re.compile(r"insource_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")


@pytest.fixture
def insource(tmp_path):
    (tmp_path / "insource.toml").write_text('[engines.hub]\nkind = "scripted"\nscript = "x"\nmodel = "hub-large"\n')
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tickets.toml").write_text('name = "tickets"\nkind = "generate"\n')

    def typed(*words: str, code: int = 0):
        done = CliRunner().invoke(main, ["-C", str(tmp_path), "keys", *words])
        assert done.exit_code == code, done.output
        return done

    return typed


def test_a_key_is_shown_once_and_kept_nowhere(insource, tmp_path):
    done = insource("create", "helpdesk", "--scope", "tickets", "--requests-per-minute", "600")
    text = done.stdout.strip()
    assert TEXT.fullmatch(text)
    assert "helpdesk of local may call tickets; 600 requests a minute; no end" in done.stderr
    assert text not in done.stderr
    secret = text.rpartition("_")[2].encode()
    for file in (tmp_path / ".insource").rglob("*"):
        assert not file.is_file() or secret not in file.read_bytes(), file
    listed = insource("list").stdout + insource("list", "--json").stdout
    assert secret.decode() not in listed
    assert key_id(text) in listed
    assert "digest" not in listed


def test_as_json_a_key_is_one_document(insource):
    made = json.loads(
        insource("create", "x", "--tenant", "plant", "--role", "admin", "--expires", "90d", "--json").stdout
    )
    assert TEXT.fullmatch(made.pop("key"))
    assert (made["name"], made["tenant"], made["roles"], made["state"]) == ("x", "plant", ["admin"], "active")
    (listed,) = json.loads(insource("list", "--json").stdout)["keys"]
    assert listed == made


def test_a_key_is_replaced_and_ended(insource):
    first = key_id(insource("create", "desk", "--concurrent", "3").stdout.strip())
    assert "desk has a key already" in insource("create", "desk", code=2).stderr
    second = json.loads(insource("rotate", first, "--overlap", "30m", "--json").stdout)
    assert (second["name"], second["limits"]["concurrent"], second["expires"]) == ("desk", 3, None)
    assert "is revoked" in insource("revoke", first).stdout
    assert "revoked already" in insource("revoke", first, code=2).stderr
    states = {key["id"]: key["state"] for key in json.loads(insource("list", "--json").stdout)["keys"]}
    assert states == {first: "revoked", second["id"]: "active"}
    assert "is revoked" in insource("rotate", first, code=2).stderr
    assert "no key zzz" in insource("revoke", "zzz", code=2).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "Help Desk"], "is not a name"),
        (["create", "x", "--tenant", "../up"], "is not a tenant"),
        (["create", "x", "--role", "owner"], "--role"),
        (["create", "x", "--expires", "soon"], "no time span"),
        (["create", "x", "--concurrent", "0"], "--concurrent"),
        (["create", "x", "--usd-per-day", "0"], "--usd-per-day"),
        (["create", "x", "--usd-per-day", "nan"], "--usd-per-day"),
        (["create", "x", "--usd-per-month", "inf"], "--usd-per-month"),
        (["create", "x", "--tokens-per-minute", "9" * 20], "tokens_per_minute"),
        (["create", "x", "--scope", "tickts"], "there are auto, hub, hub-large, tickets"),
    ],
)
def test_what_is_wrong_is_said(insource, words, said):
    assert said in insource(*words, code=2).stderr
    assert json.loads(insource("list", "--json").stdout) == {"keys": []}


def test_a_scope_may_be_a_release_an_engine_or_its_model(insource):
    insource("create", "x", "--scope", "tickets@1.0.0", "--scope", "hub", "--scope", "hub-large")


@given(st.binary(min_size=32, max_size=32), st.text("abcXYZ019", min_size=8, max_size=8))
def test_a_text_names_its_key_and_a_slip_of_a_character_is_seen(secret, id):
    text = key_text(id, secret)
    assert TEXT.fullmatch(text)
    assert key_id(text) == id
    for at in range(9, len(text)):
        if text[at] != "_":
            assert key_id(text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :]) is None
    key = Key(id=id, name="x", digest=digest(text.encode()))
    assert key.opened_by(text)
    assert not key.opened_by(key_text(id, bytes(b ^ 1 for b in secret)))


@pytest.mark.parametrize(
    "text", ["", "none", "sk-123", "insource_", "insource_aaaaaaaa_" + "a" * 49, "ü" * 67, "insource_" + "٣" * 58]
)
def test_what_is_no_key_is_none(text):
    assert key_id(text) is None


def test_the_whole_secret_is_in_the_text():
    texts = {key_text("aaaaaaaa", bytes(31) + bytes([i])) for i in range(256)}
    texts |= {key_text("aaaaaaaa", bytes([i]) + bytes(31)) for i in range(256)}
    assert len(texts) == 511
