"""The gateway's description of itself, OpenAPI 3.1: its routes, who may use each, what it takes and how it may end.

It is made of the route table and of the very types that calls are read with, so that it cannot tell of another gateway.
Source: OpenAPI Specification 3.1.1.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from insource import __version__
from insource.nouns import JsonObject
from insource.serve.auth import CALLER, Guarded
from insource.serve.batches import BatchCall
from insource.serve.chat_call import ChatCall
from insource.serve.completions import MOST_PROMPTS, TextCall
from insource.serve.embeddings import MOST_TEXTS, EmbeddingCall
from insource.serve.feedback import FeedbackCall

BODIES: Mapping[str, type] = {
    "/v1/chat/completions": ChatCall,
    "/v1/completions": TextCall,
    "/v1/embeddings": EmbeddingCall,
    "/v1/feedback": FeedbackCall,
    "/v1/batches": BatchCall,
}
FILES, CONTENT = "/v1/files", "/v1/files/{id}/content"
A_FILE: JsonObject = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"const": "batch"}},
}
ANSWERS_CALLS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
STREAMED = ("/v1/chat/completions", "/v1/completions")
TEXTS = {"/metrics"}
EVERYWHERE = (400, 403, 405, 408, 431)  # no HTTP, another host's page, another method, too slow a head, too large a one
KEYED = (401,)
CALLED = (404, 409, 413, 422, 429, 502, 503, 504)
ENDS: Mapping[str, tuple[int, ...]] = {"/readyz": (503,), "/v1/models": (503,), "/v1/models/{id:path}": (404, 503)}


def described(routes: Iterable[Guarded]) -> JsonObject:
    """The description, as JSON. An error's body is OpenAI's on every route."""
    kinds, schemas = msgspec.json.schema_components(BODIES.values(), ref_template="#/components/schemas/{name}")
    bodies = dict(zip(BODIES, kinds, strict=True))
    _narrowed(schemas)
    schemas |= {"Error": ERROR, "Answer": ANSWER}
    return {
        "openapi": "3.1.0",
        "info": {"title": "insource", "version": __version__, "summary": "The OpenAI API, at /v1."},
        "paths": {_plain(route.path): _path(route, bodies.get(route.path)) for route in routes},
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _path(route: Guarded, body: JsonObject | None) -> JsonObject:
    methods = sorted((route.methods or {"GET"}) - {"HEAD"})
    return {method.lower(): _operation(route, body if method == "POST" else None, method) for method in methods}


def _operation(route: Guarded, body: JsonObject | None, method: str) -> JsonObject:
    operation: JsonObject = {
        "summary": str(route.endpoint.__doc__).partition("\n")[0],
        "responses": {"200": _answer(route.path)} | {str(status): _error(status) for status in _ends(route)},
        "security": [{"key": []}] if route.roles else [],
        "x-roles": list(route.roles),
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if (route.path, method) == (FILES, "POST"):
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": A_FILE}}}
    names = re.findall(r"{(\w+)(?::\w+)?}", route.path)
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    return operation


def _ends(route: Guarded) -> list[int]:
    found = {*EVERYWHERE, *(KEYED if route.roles else ()), *ENDS.get(route.path, ())}
    return sorted(found | set(CALLED if route.path in BODIES or route.roles is CALLER else ()))


def _answer(path: str) -> JsonObject:
    if path in TEXTS:
        return {"description": "The numbers, in a form that Prometheus asks for.", "content": {"*/*": {}}}
    if path == CONTENT:
        return {"description": "The bytes.", "content": {"application/octet-stream": {}}}
    schema = {"$ref": "#/components/schemas/Answer"} if path in ANSWERS_CALLS else {"type": "object"}
    content: JsonObject = {"application/json": {"schema": schema}}
    if path in STREAMED:
        content["text/event-stream"] = {}
    return {"description": "The answer.", "content": content}


def _error(status: int) -> JsonObject:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _plain(path: str) -> str:
    """The path as OpenAPI writes it: {id:path} is {id}."""
    return re.sub(r"{(\w+):\w+}", r"{\1}", path)


def _narrowed(schemas: dict[str, Any]) -> None:
    """Says of fields that are read as any JSON what is then taken of them."""
    text: JsonObject = {"type": "string"}
    prompts = {"type": "array", "items": text, "minItems": 1, "maxItems": MOST_PROMPTS}
    schemas["TextCall"]["properties"]["prompt"] = {"anyOf": [text, prompts]}
    filled: JsonObject = {"type": "string", "minLength": 1}
    texts = {"type": "array", "items": filled, "minItems": 1, "maxItems": MOST_TEXTS}
    schemas["EmbeddingCall"]["properties"]["input"] = {"anyOf": [filled, texts]}


ERROR: JsonObject = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "minLength": 1},
                "type": {"enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
ANSWER: JsonObject = {
    "type": "object",
    "required": ["object", "model", "usage", "insource"],
    "properties": {
        "object": {"enum": ["chat.completion", "text_completion", "list"]},
        "model": {"type": "string"},
        "usage": {"type": "object", "required": ["prompt_tokens", "total_tokens"]},
        "insource": {"type": "object", "required": ["record", "release", "tier", "confidence", "decision"]},
    },
}
