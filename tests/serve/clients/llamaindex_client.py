"""LlamaIndex as its users write it: an answer, a stream, a tool, a structured answer."""

import json
import sys

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class City(BaseModel):
    """A city of a country."""

    name: str
    country: str


def weather(city: str) -> str:
    """The weather in a city."""
    return city


url, key = sys.argv[1:]
shared = {"api_base": url, "api_key": key, "is_chat_model": True, "is_function_calling_model": True, "max_retries": 0}
model = OpenAILike(model="hub", **shared)
tool = FunctionTool.from_defaults(weather)
answer = model.chat_with_tools([tool], user_msg="what is the weather")
call = model.get_tool_calls_from_response(answer)[0]
pieces = model.stream_chat([ChatMessage(role="user", content="hello")])
print(
    json.dumps(
        {
            "chat": model.chat([ChatMessage(role="user", content="hello")]).message.content,
            "stream": "".join(piece.delta or "" for piece in pieces),
            "tool": [call.tool_name, call.tool_kwargs],
            "structured": model.as_structured_llm(City).complete("a capital").raw.model_dump(),
            "task": OpenAILike(model="tickets", **shared).complete("a refund please").text,
        }
    )
)
