"""LangChain as its users write it: an answer, a stream, a tool, a structured answer."""

import json
import sys

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class City(BaseModel):
    """A city of a country."""

    name: str
    country: str


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return city


url, key = sys.argv[1:]
model = ChatOpenAI(model="hub", base_url=url, api_key=key, max_retries=0, timeout=20)
calls = model.bind_tools([weather]).invoke("what is the weather").tool_calls
label = ChatOpenAI(model="tickets", base_url=url, api_key=key, max_retries=0, timeout=20)
print(
    json.dumps(
        {
            "chat": model.invoke("hello").content,
            "stream": "".join(chunk.content for chunk in model.stream("hello")),
            "tool": [calls[0]["name"], calls[0]["args"]],
            "structured": model.with_structured_output(City).invoke("a capital").model_dump(),
            "task": label.invoke("a refund please").content,
            "vectors": OpenAIEmbeddings(
                model="vectors", base_url=url, api_key=key, check_embedding_ctx_length=False
            ).embed_documents(["a", "bb"]),
        }
    )
)
