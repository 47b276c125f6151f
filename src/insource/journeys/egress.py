"""The egress report: every connection that left, or was not let out, by purpose and destination."""

import asyncio

from insource.nouns import Noun
from insource.settings import Settings
from insource.store import egress
from insource.store.egress import Egress


class EgressReport(Noun, frozen=True, kw_only=True):
    """What left this workspace, with the model downloads of this user's cache. `unreadable` lines are not in it."""

    egress: tuple[Egress, ...]
    unreadable: int


async def report(settings: Settings) -> EgressReport:
    """All that was counted so far. A gateway that runs adds a new destination at once, counts within ten seconds."""
    found, unreadable = await asyncio.to_thread(
        egress.read, [settings.state / egress.FILE, settings.cache / egress.FILE]
    )
    return EgressReport(egress=tuple(found), unreadable=unreadable)
