"""BFCL's calls: functions, questions and right answers, in the words of JSON Schema and of OpenAI's tools."""

import json
import re
from pathlib import Path
from typing import Any

from insource.errors import Invalid
from insource.nouns import JsonObject

TYPES = {"dict": "object", "float": "number", "tuple": "array"}
FILES = {"simple": "BFCL_v4_simple_python.json", "multiple": "BFCL_v4_multiple.json"}


def questions(folder: Path, part: str) -> list[dict[str, Any]]:
    """The rows of a part ("simple", "multiple"): id, question, function, and `right`, the name of the one to call.

    Raises `Invalid` where the files are not there.
    """
    rows, truth = (_lines(folder / "bfcl" / place / FILES[part]) for place in ("", "possible_answer"))
    right = {row["id"]: next(iter(row["ground_truth"][0])) for row in truth}
    return [{**row, "right": right[row["id"]]} for row in rows]


def json_schema(given: JsonObject) -> JsonObject:
    """BFCL's parameters as JSON Schema: it names Python's types, and marks the optional twice."""
    made: JsonObject = {key: value for key, value in given.items() if key not in ("type", "optional")}
    if given.get("type", "any") != "any":
        made["type"] = TYPES.get(given["type"], given["type"])
    if "properties" in given:
        made["properties"] = {name: json_schema(each) for name, each in given["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(given.get(key), dict):
            made[key] = json_schema(given[key])
    return made


def tool(function: JsonObject) -> JsonObject:
    """A function as OpenAI's API takes it."""
    parameters = json_schema(function["parameters"])
    named = {"name": api_name(function["name"]), "description": function["description"], "parameters": parameters}
    return {"type": "function", "function": named}


def api_name(name: str) -> str:
    """The name with nothing in it that OpenAI's API does not take, as BFCL sends it there too."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise Invalid(f"{path} is not there", hint="give the folder that holds bfcl/")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
