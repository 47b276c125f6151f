"""Nothing a caller sends gets a 5xx or ends the gateway."""

import asyncio
import json
from pathlib import Path

import httpx2 as httpx
import pytest
from serving import gateway, say

from insource.errors import Invalid, Refused
from insource.nouns import without_folders
from insource.serve.faults import error_body


def alive(answer: httpx.Response) -> None:
    assert 200 <= answer.status_code < 500, (answer.status_code, answer.text)
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"] == "invalid_request_error"


async def test_every_naughty_string_is_an_input_like_any_other(tmp_path, shared: Path):
    source = next((shared / "naughty_strings").rglob("blns.json"), None)
    if source is None:
        pytest.skip("no naughty strings beside the project")
    texts = json.loads(source.read_text("utf-8"))
    assert len(texts) > 400
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answered = 0
        for text in texts:
            answer = await http.post("/v1/chat/completions", json=say(text))
            alive(answer)
            answered += answer.status_code == 200
            assert answer.status_code == (200 if text.strip() else 422), repr(text)
            alive(await http.post("/v1/chat/completions", json=say("refund", model=text)))
        assert answered == sum(bool(text.strip()) for text in texts)
        assert len(await store.records(limit=5000)) >= answered
        for text in texts[::25]:
            alive(
                await http.post(
                    "/v1/chat/completions", json={"model": "tickets", "messages": [{"role": text, "content": text}]}
                )
            )
        assert (await http.get("/readyz")).status_code == 200


async def test_the_json_parsing_suite_is_answered_without_a_5xx(tmp_path, shared: Path):
    files = sorted((shared / "json_test_suite").rglob("*.json"))
    if not files:
        pytest.skip("no JSON parsing suite beside the project")
    assert len(files) > 300
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        accepted = 0
        for file in files:
            data = file.read_bytes()
            alive(await http.post("/v1/chat/completions", content=data))
            whole = b'{"model":"tickets","messages":[{"role":"user","content":"refund"}],"extra":' + data + b"}"
            answer = await http.post("/v1/chat/completions", content=whole)
            alive(answer)
            accepted += answer.status_code == 200
            if file.name.startswith("n_") and b"}" not in data and b"," not in data:
                assert answer.status_code != 200, file.name
            as_text = b'{"model":"tickets","messages":[{"role":"user","content":' + data + b"}]}"
            alive(await http.post("/v1/chat/completions", content=as_text))
        assert accepted > 60
        assert (await http.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b"\xff\xfe",
        b"\x00",
        b'{"model":"tickets"}',
        b'{"model":5,"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"tickets","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"tickets","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"tickets","messages":[{"role":"user"}]}',
        b'{"model":"tickets","messages":[{"role":"user","content":{}}]}',
        b'{"model":"tickets","messages":[null]}',
        b'{"model":"tickets","messages":[{"role":"user","content":"x"}],"seed":1e999}',
        b'{"model":"tickets","messages":[{"role":"user","content":"x"}],"seed":123456789012345678901234567890}',
        b'{"model":"tickets","messages":[{"role":"user","content":"x"}],"response_format":"json"}',
        b'{"model":"tickets","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema"}}',
        b'{"model":"tickets","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":7}}',
        b'{"model":"tickets","messages":[{"role":"user","content":"x"}],"stream_options":[]}',
        b'{"model":"tickets","messages":[{"role":"user","content":[{"type":"text","text":"x","z":'
        + b"[" * 900
        + b"]" * 900
        + b"}]}]}",
        b"[" * 100_000,
        b'{"model":"tickets","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_a_wrong_body_is_a_clear_4xx(tmp_path, body):
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post("/v1/chat/completions", content=body)
        alive(answer)
        assert answer.status_code == 422
        assert await store.records() == []


CALL = b'{"model":"tickets","messages":[{"role":"user","content":"x"},{"role":"assistant",%s}]}'


@pytest.mark.parametrize(
    ("part", "at"),
    [
        (b'"tool_calls":[{"function":"x"}]', "tool_calls[0].function"),
        (b'"tool_calls":[{"id":5,"function":{"name":"f"}}]', "tool_calls[0].id"),
        (b'"tool_calls":[{"type":["function"],"function":{"name":"f"}}]', "tool_calls[0].type"),
        (b'"tool_calls":[{"function":{"name":"f"}},{"function":{"name":5}}]', "tool_calls[1].function.name"),
        (b'"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]', "tool_calls[0].function.arguments"),
        (b'"tool_calls":[{"type":"custom","custom":"x"}]', "tool_calls[0].custom"),
        (b'"content":[{"type":"text","text":5}]', "content[0].text"),
        (b'"content":[{"text":"x"}]', "content[0].type"),
        (b'"content":[{"type":["text"]}]', "content[0].type"),
        (b'"content":[{"type":"image_url","image_url":"http://x"}]', "content[0].image_url"),
        (b'"content":[{"type":"image_url","image_url":{"url":5}}]', "content[0].image_url.url"),
        (b'"content":[{"type":"input_audio","input_audio":5}]', "content[0].input_audio"),
        (b'"content":[{"type":"file","file":5}]', "content[0].file"),
        (b'"content":[{"type":"refusal"}]', "content[0].refusal"),
    ],
)
async def test_a_malformed_part_of_a_message_is_422_with_its_place(tmp_path, part, at):
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post("/v1/chat/completions", content=CALL % part)
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, f"messages[1].{at}")


async def test_a_body_over_the_limit_is_413_however_it_is_sent(tmp_path):
    async def pieces():
        for _ in range(30):
            yield b" " * 1000

    async with (
        gateway(tmp_path, max_body_bytes=10_000) as (url, _),
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        declared = await http.post("/v1/chat/completions", json=say("x" * 20_000))
        assert declared.status_code == 413
        assert declared.json()["error"]["code"] == "request_too_large"
        assert (await http.post("/v1/chat/completions", content=pieces())).status_code == 413
        assert (await http.post("/v1/chat/completions", json=say("refund"))).status_code == 200


async def test_when_too_many_wait_the_next_is_told_to_come_again(tmp_path):
    async with gateway(tmp_path, queue=4) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answers = await asyncio.gather(*[http.post("/v1/chat/completions", json=say("slowly")) for _ in range(12)])
        codes = [answer.status_code for answer in answers]
        assert codes.count(200) == 4
        assert codes.count(429) == 8
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert (await http.post("/v1/chat/completions", json=say("refund"))).status_code == 200


async def test_unknown_routes_and_methods_have_the_same_error_body(tmp_path):
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        for method, path, status in (
            ("GET", "/v1/nope", 404),
            ("GET", "/v1/chat/completions", 405),
            ("POST", "/v1/models", 405),
            ("GET", "/v1/models/%2e%2e%2fetc", 404),
        ):
            answer = await http.request(method, path)
            assert answer.status_code == status
            if status == 405:
                assert answer.headers["allow"]
                assert answer.json()["error"]["code"] == "method_not_allowed"
            alive(answer)
        assert (await http.get("/")).json()["name"] == "insource"


async def test_only_calls_addressed_to_this_machine_are_answered(tmp_path):
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        odd = ("evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", "", "[::1", "localhost:1@evil.example")
        for host in odd:
            assert (await http.get("/v1/models", headers={"host": host})).status_code in (400, 403)
        for host in ("localhost:8080", "127.0.0.1", "[::1]:80", "LOCALHOST"):
            assert (await http.get("/v1/models", headers={"host": host})).status_code == 200


async def test_no_page_of_another_host_can_leave_a_text_in_the_queue(tmp_path):
    body = b'{"model":"tickets","messages":[{"role":"user","content":"unsure planted"}]}'
    async with gateway(tmp_path) as (url, store), httpx.AsyncClient(base_url=url, timeout=20) as http:
        for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://evil.example:8080"):
            headers = {"origin": origin, "content-type": "text/plain"}
            answer = await http.post("/v1/chat/completions", content=body, headers=headers)
            assert answer.status_code == 403, origin
        assert await store.records() == []
        for origin in ("http://localhost:3000", "http://127.0.0.1", url.removesuffix("/")):
            answer = await http.post("/v1/chat/completions", content=body, headers={"origin": origin})
            assert answer.status_code == 200, origin
        assert len(await store.pending()) == 3


async def test_two_hosts_in_one_call_are_none(tmp_path):
    async with gateway(tmp_path) as (url, _):
        place = httpx.URL(url)
        reader, writer = await asyncio.open_connection(place.host, place.port)
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        status = await reader.readline()
        writer.close()
        assert status.split()[1] in (b"400", b"403")


def test_an_error_names_files_without_the_folders_of_this_machine():
    changed = Refused("/srv/work/t-1/model.safetensors is not what was released", hint="see /v1/models")
    told = error_body(changed)
    assert told["error"]["message"] == "model.safetensors is not what was released. see /v1/models"
    told = error_body(Invalid("the schema's not at #/properties/a/items is none", at="#/properties/a/items"))["error"]
    assert told["message"] == "the schema's not at #/properties/a/items is none"
    assert told["param"] == "#/properties/a/items"
    assert error_body(Invalid("no", at="/srv/a.toml"))["error"]["param"] is None
    assert without_folders("http://10.0.0.1:80/v1/x and (/a/b c)") == "http://10.0.0.1:80/v1/x and (b c)"
