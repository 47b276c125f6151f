"""A scripted server in a process of its own, so that it can be killed: prints its address, and serves until then."""

import asyncio
import sys

from insource.engines.scripted_server import Reply, ScriptedServer


async def main(kind: str, delay_s: float) -> None:
    """Serves."""
    async with ScriptedServer([Reply(text="one two three", delay_s=delay_s)], kind=kind) as server:
        print(server.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
