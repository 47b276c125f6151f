"""The numbers of workers that share an address: whichever is asked tells of all, each by its label `worker`.

Each writes its own into a file every second, in the state folder, and reads those of the others when somebody asks.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import time

from prometheus_client.metrics_core import Metric

from insource.errors import Invalid
from insource.nouns import Noun, from_json, to_json

EVERY_S, OLD_S = 1.0, 10.0
# what is the same whoever says it: it has no label
OF_ALL = ("store_up", "review_waiting", "live_release", "alerts", "build_info")


class Family(Noun, frozen=True, kw_only=True):
    """One metric: its name, words and type, and its samples, each a name, labels and a value."""

    name: str
    words: str
    kind: str
    samples: tuple[tuple[str, dict[str, str], float], ...]


class Page(Noun, frozen=True, kw_only=True):
    """What one worker counted up to a time (s since 1970)."""

    at: float
    families: tuple[Family, ...]


class Siblings:
    """Worker `number` of those that write into `folder`."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number

    async def keep(self, families: Callable[[], Iterable[Metric]]) -> None:
        """Writes what was counted, until it is cancelled. A disk that is full keeps others from knowing, no more."""
        while True:
            body = to_json(Page(at=time(), families=tuple(_said(one) for one in families() if not _of_all(one.name))))
            with suppress(OSError):
                await asyncio.to_thread(self._write, body)
            await asyncio.sleep(EVERY_S)

    async def together(self, mine: Iterable[Metric]) -> list[Metric]:
        """These families, and with them what the others counted."""
        found: dict[str, Metric] = {}
        for metric in mine:
            found[metric.name] = metric if _of_all(metric.name) else _labelled(_said(metric), None, self._number)
        for number, page in await asyncio.to_thread(self._others):
            for family in page.families:
                found[family.name] = _labelled(family, found.get(family.name), number)
        return list(found.values())

    def _write(self, body: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._folder / f".{self._number}.part"
        part.write_bytes(body)
        part.rename(self._folder / f"{self._number}.json")

    def _others(self) -> list[tuple[int, Page]]:
        found = []
        for path in sorted(self._folder.glob("*.json")):
            if path.stem.isdecimal() and int(path.stem) != self._number:
                with suppress(OSError, Invalid):
                    page = from_json(path.read_bytes(), Page)
                    if time() - page.at < OLD_S:
                        found.append((int(path.stem), page))
        return found


def _of_all(name: str) -> bool:
    return name.removeprefix("insource_") in OF_ALL


def _said(metric: Metric) -> Family:
    samples = tuple((one.name, dict(one.labels), float(one.value)) for one in metric.samples)
    return Family(name=metric.name, words=metric.documentation, kind=metric.type, samples=samples)


def _labelled(family: Family, metric: Metric | None, number: int) -> Metric:
    metric = metric or Metric(family.name, family.words, family.kind)
    for name, labels, value in family.samples:
        metric.add_sample(name, {**labels, "worker": str(number)}, value)
    return metric
