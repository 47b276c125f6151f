"""A gateway with its console on a real socket, calls in its store, and people who sign in."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
from serving import RULES, path_of, socket_of, tickets, workspace
from starlette.applications import Starlette

from insource.console.app import create_console
from insource.engines.scripted import Scripted
from insource.journeys import keys
from insource.journeys.answer import answer
from insource.nouns import Key, Record, ask
from insource.nouns.record import record_id
from insource.serve.app import create_app
from insource.settings import Settings, load_task
from insource.store import Store

FORM = re.compile(r'name="form" value="([^"]+)"')


@dataclass
class Place:
    """Where it stands, and what was answered there."""

    url: str
    store: Store
    settings: Settings
    app: Starlette

    async def key(self, name: str, *roles: str, **more) -> str:
        return (await keys.create(self.store, Key(id="", name=name, roles=roles, **more)))[1]

    def browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"{self.url}", timeout=20, follow_redirects=True)

    @asynccontextmanager
    async def seat(self, key: str = "") -> AsyncIterator[httpx.AsyncClient]:
        """A browser that signed in."""
        async with self.browser() as web:
            if key:
                answered = await web.post("/console/login", data={"key": key})
                assert answered.status_code == 200, answered.text
            yield web

    async def asked(self, text: str, tenant: str = "local") -> Record:
        """A call that was answered, on record."""
        task = load_task(self.settings, "tickets")
        path = path_of(self.store, tickets(), Scripted("one", RULES))
        request = ask(task, text, id=record_id(), tenant=tenant)
        return await answer(request, path, self.store.append)


async def send(web: httpx.AsyncClient, page: str, where: str = "", /, **fields: str) -> httpx.Response:
    """A form of a page, filled in and sent."""
    shown = await web.get(page)
    form = FORM.search(shown.text)
    assert form, shown.text
    return await web.post(where or page.partition("?")[0], data={"form": form[1], **fields})


@asynccontextmanager
async def seated(root: Path, *, network: bool = False) -> AsyncIterator[Place]:
    workspace(root)
    settings = Settings(root=root, cache=root)
    async with await Store.open(settings) as store:
        path = path_of(store, tickets(), Scripted("one", RULES))
        app = create_app(settings, store, {"tickets": path}, network=network)
        app.mount("/console", create_console(settings, store, app.state.keyring))
        async with socket_of(app) as url:
            yield Place(url, store, settings, app)
