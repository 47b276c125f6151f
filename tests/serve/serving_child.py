"""A gateway in a process of its own, to be killed: `python serving_child.py FOLDER kept|deferred [PATIENCE_S]`."""

import asyncio
import sys
from pathlib import Path

from serving import path_of, tickets, workspace

from insource.engines.scripted import Rule, Scripted
from insource.serve.app import create_app
from insource.serve.desk import Desk
from insource.serve.patience import Patience
from insource.serve.run import address, event_loop, listen, run_server
from insource.store import Store

RULES = [
    Rule(match="late", value={"intent": "refund"}, confidence=0.97, delay_s=0.4),
    Rule(match="never", value={"intent": "refund"}, confidence=0.97, delay_s=50.0),
    Rule(match="*", value={"intent": "refund"}, confidence=0.97, delay_s=0.02),
]


async def main(root: Path, mode: str, *patience: str) -> None:
    settings = workspace(root)
    async with await Store.open(settings) as store:
        if mode == "deferred":
            later = []

            async def keep(self, record, pending):
                # the negative control: the answer leaves first, its record is written a little later
                async def write():
                    await asyncio.sleep(3)
                    await store.append(record, pending)

                later.append(asyncio.create_task(write()))

            Desk.keep = keep
        app = create_app(settings, store, {"tickets": path_of(store, tickets(), Scripted("one", RULES))})
        bound = listen("127.0.0.1", 0)
        waits = Patience(*[float(seconds) for seconds in patience * 3])
        broken = await run_server(app, bound, lambda: print(address(bound), flush=True), patience=waits)
    print("closed", broken, flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), *sys.argv[2:]))
