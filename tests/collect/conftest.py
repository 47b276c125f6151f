"""A workspace on a temporary path, and short ways to write files and collect them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from insource.collect.columns import Wish
from insource.journeys.collect import Collected, collect
from insource.journeys.init import init
from insource.nouns import Dataset, Example
from insource.settings import Settings, load_settings
from insource.store import Store


class Workspace:
    """A workspace: `write` makes a file in it, `collect` takes files in, `rows` are what is kept."""

    def __init__(self, root: Path) -> None:
        self.root = root
        init(root)

    @property
    def settings(self) -> Settings:
        return load_settings(self.root)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def task(self, name: str, *labels: str, more: str = "") -> None:
        """A classify task with the output `label`."""
        listed = ", ".join(f'"{label}"' for label in labels)
        self.write(
            f"tasks/{name}.toml", f'name = "{name}"\nkind = "classify"\n{more}\n[outputs.label]\nlabels = [{listed}]\n'
        )

    async def collect(
        self, task: str, *files: Path, progress: Callable[..., None] | None = None, **wish: object
    ) -> Collected:
        async with await Store.open(self.settings) as store:
            given = {} if progress is None else {"progress": progress}
            return await collect(task, files, self.settings, store, wish=Wish(**wish), **given)

    async def dataset(self, task: str) -> Dataset | None:
        async with await Store.open(self.settings) as store:
            return await store.dataset(task)

    async def rows(self, task: str) -> list[Example]:
        async with await Store.open(self.settings) as store:
            dataset = await store.dataset(task)
            assert dataset is not None
            return await store.examples(dataset.id)

    def leftovers(self) -> list[str]:
        """Files that a finished or failed collect must not leave."""
        return [path.name for path in self.root.rglob("*") if path.name.endswith(".part")]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "plant")
