"""Instructor as its users write it: structured answers by tool, by schema, and streamed in parts."""

import json
import sys

import instructor
from openai import OpenAI
from pydantic import BaseModel


class City(BaseModel):
    """A city of a country."""

    name: str
    country: str


url, key = sys.argv[1:]
plain = OpenAI(base_url=url, api_key=key, max_retries=0, timeout=20)
asked = {"model": "hub", "response_model": City, "messages": [{"role": "user", "content": "a capital"}]}
by_tool = instructor.from_openai(plain)
by_schema = instructor.from_openai(plain, mode=instructor.Mode.JSON_SCHEMA)
parts = list(by_tool.chat.completions.create_partial(**asked))
print(
    json.dumps(
        {
            "structured": by_tool.chat.completions.create(**asked).model_dump(),
            "schema": by_schema.chat.completions.create(**asked).model_dump(),
            "streamed": parts[-1].model_dump(),
        }
    )
)
