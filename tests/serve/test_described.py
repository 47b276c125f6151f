"""The gateway's description of itself says what it does."""

import httpx2 as httpx
import jsonschema
import pytest
from serving import gateway, say
from test_keys import BODIES

from insource.serve.app import ROUTES
from insource.serve.described import described


def resolved(document: dict, schema: dict) -> dict:
    return {**schema, "components": document["components"]}


async def test_every_route_is_described_with_its_roles_and_how_it_may_end(tmp_path):
    document = described(ROUTES)
    assert len(document["paths"]) == len(ROUTES)
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        assert (await http.get("/openapi.json")).json() == document
        for route, (path, methods) in zip(ROUTES, document["paths"].items(), strict=True):
            assert {method.upper() for method in methods} == route.methods - {"HEAD"}
            method = "post" if "post" in methods else "get"
            operation = methods[method]
            assert all(one["x-roles"] == list(route.roles) for one in methods.values())
            name = path.replace("{id}", "tickets")
            answers = [await http.request(method, name, json=BODIES.get(path))]
            answers += [await http.request("DELETE", name), await http.request(method, name, headers={"host": "evil"})]
            answers += [await http.request(method, name, content=b"{") for _ in range(method == "post")]
            for answer in answers:
                said = operation["responses"][str(answer.status_code)]
                kind = answer.headers["content-type"].partition(";")[0]
                assert kind in said["content"] or "*/*" in said["content"], (path, answer.status_code, kind)
                if kind == "application/json":
                    jsonschema.validate(answer.json(), resolved(document, said["content"][kind]["schema"]))


@pytest.mark.parametrize(
    ("path", "body", "fits"),
    [
        ("/v1/chat/completions", say("x"), True),
        ("/v1/chat/completions", say("x", stream=True, n=2, tools=[], stop=["a"], seed=None), True),
        ("/v1/chat/completions", {"model": "x", "messages": []}, False),
        ("/v1/chat/completions", say("x", n=0), False),
        ("/v1/completions", {"model": "x", "prompt": ["a", "b"]}, True),
        ("/v1/completions", {"model": "x", "prompt": [1, 2]}, False),
        ("/v1/embeddings", {"model": "x", "input": "a"}, True),
        ("/v1/embeddings", {"model": "x", "input": ""}, False),
    ],
)
async def test_a_body_fits_the_description_exactly_when_it_is_read(tmp_path, path, body, fits):
    document = described(ROUTES)
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert jsonschema.Draft202012Validator(resolved(document, schema)).is_valid(body) == fits
    async with gateway(tmp_path) as (url, _), httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post(path, json=body | {"model": "nobody"})
        assert answer.status_code == (404 if fits else 422), answer.text
