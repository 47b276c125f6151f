"""PydanticAI as its users write it: an answer, a stream, a tool that it calls and answers, a structured answer."""

import asyncio
import json
import sys

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    """A city of a country."""

    name: str
    country: str


async def main() -> dict:
    url, key = sys.argv[1:]
    model = OpenAIChatModel("hub", provider=OpenAIProvider(base_url=url, api_key=key))
    agent = Agent(model)
    called = []
    helper = Agent(model)

    @helper.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        called.append(city)
        return "sunny"

    words = ""
    async with agent.run_stream("hello") as run:
        async for piece in run.stream_text(delta=True):
            words += piece
    return {
        "chat": (await agent.run("hello")).output,
        "stream": words,
        "tool": ["weather", {"city": called[0]}] if (await helper.run("what is the weather")).output and called else [],
        "structured": (await Agent(model, output_type=City).run("a capital")).output.model_dump(),
    }


print(json.dumps(asyncio.run(main())))
