"""Two hosts, one registry, one bucket: what one makes the other serves, byte for byte, or says why it does not."""

import asyncio
import time

import msgspec
import pytest
from bundle_parts import released
from release_parts import keep_rows, rows, stub
from sharing import damage_there, files, said

from buckets import KEYS
from insource.engines.artefact import MANIFEST, Manifest, read_manifest, write_manifest
from insource.errors import Conflict, Missing, Refused, StoreError
from insource.journeys import artefacts as journey
from insource.journeys.promote import verify
from insource.journeys.serve import close_path, open_path
from insource.journeys.sign import sign_release
from insource.nouns import Release, digest
from insource.release import shared
from insource.release.enter import enter
from insource.release.shared import fetch, here, share
from insource.release.signature import make_key, signature_file
from insource.serve.app import create_app
from insource.serve.coming import Coming
from insource.serve.desk import Desk
from insource.settings import load_settings, load_task
from insource.store import Store
from insource.store.backup import unpack
from insource.store.place import ARTEFACTS, key_of


async def test_what_one_host_trains_the_other_serves_byte_for_byte(two):
    ours, theirs = two
    texts = [row.input for row in rows(40, seed=5)]
    async with await Store.open(ours) as one, await Store.open(theirs) as other:
        release = await released(ours, one)
        assert not (theirs.state / "releases").exists()
        assert await said(theirs, other, texts) == await said(ours, one, texts)
        assert files(theirs.state / release.folder) == files(ours.state / release.folder)
        dataset = await other.dataset("defects")
        assert await other.examples(dataset.id) == await one.examples(dataset.id)
        assert (await verify(release, theirs)).whole
        assert not list((theirs.state / shared.FETCHING).glob("*"))


async def test_nothing_is_registered_that_is_not_in_the_place(two):
    ours, _ = two
    async with await Store.open(ours) as store:
        task = load_task(ours, "defects")
        made = stub(ours, task, "9.0.0")
        work = ours.state / "training" / "x"
        work.parent.mkdir()
        (ours.state / made.folder).rename(work)

        class Down:
            name = "nowhere"

            def put(self, key, file, *, again=False):
                raise StoreError("nowhere cannot be reached")

        place, store.place = store.place, Down()
        with pytest.raises(StoreError, match="nowhere"):
            await enter(made, work, ours, store)
        assert await store.releases("defects") == []
        assert (work / MANIFEST).is_file()
        store.place = place
        entered = await enter(made, work, ours, store)
        assert key_of(ARTEFACTS, entered.artefact) in place.listed()


async def test_hosts_that_register_at_once_get_versions_of_their_own(two):
    ours, theirs = two
    async with await Store.open(ours) as one, await Store.open(theirs) as other:
        task = load_task(ours, "defects")
        made = []
        for settings in (ours, theirs):
            release = stub(settings, task, "9.0.0")
            work = settings.state / "work"
            (settings.state / release.folder).rename(work)
            made.append((release, work, settings))

        class Late:
            """A store that hears of what the other host registered only when it registers too."""

            def __init__(self, store, blind):
                self._store, self._blind, self.place = store, blind, store.place

            async def releases(self, name):
                self._blind -= 1
                return [] if self._blind >= 0 else await self._store.releases(name)

            async def add_release(self, release):
                await self._store.add_release(release)

        first = await enter(*made[0], one)
        second = await enter(*made[1], Late(other, 1))
        assert [first.version, second.version] == ["1.0.0", "1.1.0"]
        assert (theirs.state / second.folder / MANIFEST).is_file()
        assert [one.name for one in await one.releases("defects")] == ["defects@1.0.0", "defects@1.1.0"]

        class Taken(Late):
            """A store where another host is always quicker."""

            async def add_release(self, release):
                raise Conflict(f"{release.name} exists already")

        again = stub(theirs, task, "7.0.0")
        with pytest.raises(Conflict):
            await enter(again, theirs.state / again.folder, theirs, Taken(other, 0))
        assert (theirs.state / again.folder / MANIFEST).is_file()


WRONG = {
    "cut": lambda data: data[: len(data) // 2],
    "flipped": lambda data: data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
    "other": lambda data: b'"another"',
    "empty": lambda data: b"",
    "missing": lambda data: None,
}


@pytest.mark.slow
@pytest.mark.parametrize("part", ["weights.json", MANIFEST])
@pytest.mark.parametrize("fault", WRONG)
async def test_a_wrong_object_takes_no_place_and_is_named(two, server, part, fault):
    ours, theirs = two
    task = load_task(ours, "defects")
    async with await Store.open(ours) as store:
        release = stub(ours, task, "1.0.0")
        folder = ours.state / release.folder
        share(folder, release.artefact, store.place)
        await store.add_release(release)
        sha = release.artefact if part == MANIFEST else read_manifest(folder).files[part]
        key, right = key_of(ARTEFACTS, sha), (folder / part).read_bytes()
        damage_there(ours, key, WRONG[fault](right), server)
        async with await Store.open(theirs) as other:
            with pytest.raises(Missing if fault == "missing" else Refused) as told:
                await here(release, theirs, other.place)
            assert release.name in str(told.value)
            assert key in str(told.value)
            assert not (theirs.state / release.folder).exists()
            whole = await verify(release, ours)
            assert not whole.whole
            assert any(part in fault and "in" in fault for fault in whole.faults)
            pulled = await journey.pull(theirs, other)
            assert len(pulled.faults) == 1
            pushed = await journey.push(ours, store, check=True)
            assert pushed.files >= 1
            assert not pushed.faults
            await here(release, theirs, other.place)
            assert files(theirs.state / release.folder) == files(folder)
            assert (await verify(release, ours)).whole


@pytest.mark.parametrize(
    "name",
    ["../../escaped.json", "/etc/escaped.json", "a/../../escaped.json", "..\\escaped.json", "code.py",
     "x/manifest.json", "a//b.json", "./a.json", "a\x00.json", ""],
)  # fmt: skip
async def test_a_manifest_that_leads_elsewhere_is_refused(two, name, tmp_path):
    ours, theirs = two
    task = load_task(ours, "defects")
    async with await Store.open(theirs) as other:
        data = b"{}"
        manifest = Manifest(
            engine="linear", task=task, base="linear", base_digest="", dataset="d", recipe={}, heads=(),
            files={name: digest(data)},
        )  # fmt: skip
        folder = tmp_path / "made"
        folder.mkdir()
        artefact = write_manifest(folder, manifest)
        (folder / "data").write_bytes(data)
        other.place.put(key_of(ARTEFACTS, digest(data)), folder / "data")
        other.place.put(key_of(ARTEFACTS, artefact), folder / MANIFEST)
        release = Release(
            task="defects", version="6.0.0", engine="linear", base="linear", dataset="d", recipe="r", artefact=artefact,
            folder="releases/defects/6.0.0",
        )  # fmt: skip
        with pytest.raises(Refused):
            fetch(release, theirs.state, other.place)
        assert not (theirs.state / release.folder).exists()
        assert not list(tmp_path.parent.rglob("escaped*"))
        for where in ("../../x/y", "/tmp/x/y", "releases/../x", "blobs/defects/1"):
            with pytest.raises(Refused, match="is not to lie in"):
                fetch(msgspec.structs.replace(release, folder=where), theirs.state, other.place)


async def test_the_old_release_answers_until_the_new_one_is_here_and_readyz_says_so(hosts, server, monkeypatch):
    monkeypatch.setattr("insource.serve.coming.AGAIN_S", 0.2)
    ours, theirs = hosts
    async with await Store.open(ours) as one, await Store.open(theirs) as other:
        await released(ours, one)
        path = await open_path("defects", theirs, other)
        desk = Desk(theirs, other, {"defects": path})
        app = create_app(theirs, other, {})
        app.state.desk = desk
        try:
            await keep_rows(one, rows(700, seed=3))
            new = await released(ours, one)
            weights = next(
                sha for name, sha in read_manifest(ours.state / new.folder).files.items() if "safetensors" in name
            )
            right = next((ours.state / new.folder).rglob("*.safetensors")).read_bytes()
            damage_there(theirs, key_of(ARTEFACTS, weights), right[:-1] + b"\x00", server)
            problems = await desk.follow()
            for _ in range(100):
                problems = await desk.follow()
                if "not what was put there" in "".join(problems):
                    break
                await asyncio.sleep(0.05)
            assert "not what was put there" in "".join(problems)
            assert desk.live() == {"defects": "defects@1.0.0"}
            assert await desk.faults() == []
            assert len(desk.waiting) == 1
            assert new.name in desk.waiting[0]
            assert weights in desk.waiting[0]
            assert "defects@1.0.0 answers instead" in desk.waiting[0]
            assert KEYS["AWS_SECRET_ACCESS_KEY"] not in desk.waiting[0]
            damage_there(theirs, key_of(ARTEFACTS, weights), right, server)
            for _ in range(100):
                if not await desk.follow():
                    break
                await asyncio.sleep(0.05)
            assert desk.live() == {"defects": new.name}
            assert desk.waiting == []
        finally:
            await desk.close()


@pytest.mark.slow
async def test_a_slow_fetch_keeps_no_other_from_being_followed(hosts, monkeypatch):
    ours, theirs = hosts
    task = load_task(ours, "defects")
    async with await Store.open(ours) as one, await Store.open(theirs) as other:
        release = stub(ours, task, "1.0.0")
        share(ours.state / release.folder, release.artefact, one.place)
        real = other.place.get

        def slowly(key):
            time.sleep(1.5)
            yield from real(key)

        monkeypatch.setattr(other.place, "get", slowly)
        coming = Coming(theirs, other)
        began = time.monotonic()
        with pytest.raises(StoreError, match="is being fetched"):
            await coming.arrived(release)
        assert time.monotonic() - began < 1.0
        assert coming.said
        while True:
            try:
                await coming.arrived(release)
                break
            except StoreError:
                await asyncio.sleep(0.05)
        assert coming.said == {}
        assert (theirs.state / release.folder / MANIFEST).is_file()


async def test_without_the_place_what_is_here_is_served(hosts, server, tmp_path):
    ours, theirs = hosts
    async with await Store.open(ours) as one:
        await released(ours, one)
        async with await Store.open(theirs) as other:
            texts = ["oil leak at the seal"]
            first = await said(theirs, other, texts)
        down = load_settings(theirs.root, {"INSOURCE_CACHE": str(tmp_path)})
        down = msgspec.structs.replace(
            down, artefacts=msgspec.structs.replace(down.artefacts, endpoint="http://127.0.0.1:9")
        )
        async with await Store.open(down) as other:
            assert await said(down, other, texts) == first


async def test_signatures_come_along_and_a_newer_one_counts(two, tmp_path):
    pytest.importorskip("model_signing")
    ours, theirs = two
    first, second = tmp_path / "first", tmp_path / "second"
    trusted = tuple(str(make_key(key)) for key in (first, second))
    async with await Store.open(ours) as one, await Store.open(theirs) as other:
        release = await released(ours, one)
        theirs = msgspec.structs.replace(theirs, signing=type(theirs.signing)(trusted=trusted[1:]))
        with pytest.raises(Refused, match="not signed"):
            await open_path("defects", theirs, other)
        await sign_release(release, ours, first)
        with pytest.raises(Refused, match="not signed"):
            await open_path("defects", theirs, other)
        await sign_release(release, ours, second)
        await close_path(await open_path("defects", theirs, other))
        assert signature_file(theirs.state, release).read_bytes() == signature_file(ours.state, release).read_bytes()


async def test_a_second_push_and_a_second_pull_do_nothing(two):
    ours, theirs = two
    async with await Store.open(msgspec.structs.replace(ours, artefacts=type(ours.artefacts)())) as alone:
        release = await released(ours, alone)
    async with await Store.open(ours) as one, await Store.open(theirs) as other:
        pushed = await journey.push(ours, one)
        assert (pushed.there, pushed.releases, pushed.faults) == (0, 1, ())
        again = await journey.push(ours, one)
        assert (again.files, again.bytes, again.there, again.releases) == (0, 0, pushed.files, 1)
        pulled = await journey.pull(theirs, other)
        assert pulled.releases == 1
        assert pulled.faults == ()
        assert (await journey.pull(theirs, other)).files == 0
        assert files(theirs.state / "releases") == files(ours.state / "releases")
        assert files(theirs.state / "blobs") == files(ours.state / "blobs")
        (ours.state / release.folder / "trainer.jsonl").write_text("changed")
        pushed = await journey.push(ours, one)
        assert [pushed.files, len(pushed.faults)] == [0, 1]  # what is damaged here does not go there
        assert "trainer.jsonl" in pushed.faults[0]
        assert (await verify(release, ours)).faults == ("trainer.jsonl was changed",)


async def test_a_backup_of_a_host_that_lacks_a_release_has_it(two, tmp_path):
    ours, theirs = two
    async with await Store.open(ours) as one:
        release = await released(ours, one)
    async with await Store.open(theirs) as other:
        await journey.gather(theirs, other)
        assert await other.backup(tmp_path / "b.tar") > 0
    unpack(tmp_path / "b.tar", tmp_path / "c" / ".insource")
    restored = load_settings(tmp_path / "c", {"INSOURCE_CACHE": str(tmp_path)})
    found = await verify(release, msgspec.structs.replace(restored, artefacts=type(restored.artefacts)()))
    assert found.whole
