"""Which release a name on the command line means."""

from collections.abc import Awaitable, Callable

from insource.errors import Invalid, Missing
from insource.nouns import Release
from insource.release.shared import here
from insource.release.stages import ON_ITS_WAY
from insource.settings import Settings, load_task
from insource.store import Store


async def pick(
    name: str, settings: Settings, store: Store, default: Callable[[str, Store], Awaitable[Release]]
) -> Release:
    """What `named` finds, on this host: fetched first from where hosts share artefacts, if it is not here."""
    found = await named(name, settings, store, default)
    await here(found, settings, store.place)
    return found


async def named(
    name: str, settings: Settings, store: Store, default: Callable[[str, Store], Awaitable[Release]]
) -> Release:
    """The release called TASK@VERSION; of TASK alone the one that `default` chooses. Raises `Missing`, `Invalid`."""
    task, at, version = name.partition("@")
    load_task(settings, task)
    if at and not version:
        raise Invalid(f"{name!r} names no version", hint=f"{task} alone, or {task}@1.0.0")
    return await store.release(task, version) if version else await default(task, store)


async def newest(task: str, store: Store) -> Release:
    """The newest release of the task. Raises `Missing` without one."""
    found = await store.listings.newest_release(task)
    if found is None:
        raise Missing(f"{task} has no release yet", hint=f"insource train {task} makes a candidate")
    return found


async def candidate(task: str, store: Store) -> Release:
    """The newest candidate, or the newest that is on its way. Raises `Missing` without one."""
    await newest(task, store)
    found = await store.listings.newest_release(task, ("candidate",))
    found = found or await store.listings.newest_release(task, ON_ITS_WAY)
    if found is None:
        raise Missing(f"{task} has no candidate", hint=f"name a release of insource release list {task}, or train one")
    return found


async def live(task: str, store: Store) -> Release:
    """What is live. Raises `Missing` where nothing is."""
    found = await store.live(task)
    if found is None:
        last = await newest(task, store)
        raise Missing(f"{task} has no live release", hint=f"the newest is {last.name}: name it, or promote it")
    return found


async def live_or_newest(task: str, store: Store) -> Release:
    """What is live, else the newest. Raises `Missing` without any."""
    return await store.live(task) or await newest(task, store)
