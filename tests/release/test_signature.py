"""Signed releases: who signed, what a change does to it, and that nothing unsigned answers where keys are trusted."""

import asyncio
import base64
import hashlib
import json
import random
import shutil
from pathlib import Path

import msgspec
import pytest
from bundle_parts import again, home, released, written
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from release_parts import stub

from insource.cli.main import main
from insource.engines.artefact import file_digest, write_manifest
from insource.errors import Conflict, Invalid, Missing, Refused
from insource.journeys import edge
from insource.journeys.answer import discard
from insource.journeys.edge import install
from insource.journeys.promote import promote, rollback, verify
from insource.journeys.serve import close_path, open_path
from insource.journeys.sign import seal_of, sign_release
from insource.nouns import Release, Task, ask
from insource.release.signature import make_key, sealed, sign, signature_file
from insource.settings import Settings, load_settings, load_task
from insource.store import Store

FLIPS = 300


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """The private halves of our key and of a stranger's."""
    for name in ("ours", "stranger"):
        make_key(tmp_path / "keys" / name)
    return tmp_path / "keys" / "ours", tmp_path / "keys" / "stranger"


def public(key: Path) -> Path:
    """The public half of a private key's file."""
    return key.with_name(key.name + ".pub")


def trust(settings: Settings, key: Path) -> Settings:
    """The same workspace, which trusts the key."""
    (settings.root / "insource.toml").write_text(f'[signing]\ntrusted = ["{public(key)}"]\n')
    return load_settings(settings.root, {"INSOURCE_CACHE": str(settings.cache)})


def artefact(tmp_path: Path, task: Task | None = None) -> tuple[Settings, Release]:
    """A release whose files are whole, in a workspace of its own."""
    settings = home(tmp_path / "home")
    return settings, stub(settings, task or load_task(settings, "defects"), "1.0.0")


def test_a_key_is_for_its_owner_alone_and_never_written_over(tmp_path: Path) -> None:
    made = make_key(tmp_path / "new" / "release")
    private = tmp_path / "new" / "release"
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in made.read_bytes()
    before = private.read_bytes()
    with pytest.raises(Conflict):
        make_key(private)
    assert private.read_bytes() == before


async def test_only_the_key_that_signed_is_named(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings, release = artefact(tmp_path)
    ours, stranger = keys
    assert seal_of(release, settings, [public(ours)]).fault == "it is not signed"
    made = await sign_release(release, settings, ours)
    assert seal_of(release, settings, [public(stranger), public(ours)]).by == str(public(ours))
    assert "another key" in seal_of(release, settings, [public(stranger)]).fault
    assert Path(made.file) == signature_file(settings.state, release)


async def test_every_change_of_the_files_breaks_it(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings, release = artefact(tmp_path)
    await sign_release(release, settings, keys[0])
    folder, known = settings.state / release.folder, [public(keys[0])]
    (folder / "weights.json").write_text('"1.0.1"')
    assert "weights.json was changed" in seal_of(release, settings, known).fault
    (folder / "weights.json").write_text('"1.0.0"')
    (folder / "extra.json").write_text("1")
    assert "files were added" in seal_of(release, settings, known).fault
    (folder / "extra.json").unlink()
    (folder / "weights.json").unlink()
    assert "files are missing" in seal_of(release, settings, known).fault


async def test_it_holds_where_the_trainers_rows_stayed_behind(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings, release = artefact(tmp_path)
    folder = settings.state / release.folder
    (folder / "trainer.jsonl").write_text('{"id": "row"}\n')
    sign(folder, keys[0], signature_file(settings.state, release))
    (folder / "trainer.jsonl").unlink()
    assert seal_of(release, settings, [public(keys[0])]).by


async def test_a_flipped_bit_of_the_signature_is_never_taken(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """0 of 300: below 1.0% with 95% confidence (Clopper and Pearson)."""
    settings, release = artefact(tmp_path)
    made = await sign_release(release, settings, keys[0])
    whole, dice = Path(made.file).read_bytes(), random.Random(7)  # noqa: S311 - which bits, not a secret
    other = tmp_path / "flipped.sig"
    for _ in range(FLIPS):
        data = bytearray(whole)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        other.write_bytes(bytes(data))
        assert not sealed(settings.state / release.folder, other, [public(keys[0])]).by
    assert sealed(settings.state / release.folder, Path(made.file), [public(keys[0])]).by


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"null", b"\x00\xff", b"9" * 5_000, b"[" * 100_000])
def test_what_is_no_signature_is_said_so(tmp_path: Path, keys: tuple[Path, Path], junk: bytes) -> None:
    settings, release = artefact(tmp_path)
    file = tmp_path / "junk.sig"
    file.write_bytes(junk)
    assert sealed(settings.state / release.folder, file, [public(keys[0])]).fault == "junk.sig is no whole signature"


def test_keys_that_are_none_are_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings, release = artefact(tmp_path)
    folder, out = settings.state / release.folder, signature_file(settings.state, release)
    with pytest.raises(Missing):
        sign(folder, tmp_path / "nowhere", out)
    with pytest.raises(Invalid):
        sign(folder, public(keys[0]), out)
    sign(folder, keys[0], out)
    (tmp_path / "word").write_text("no key")
    with pytest.raises(Invalid):
        sealed(folder, out, [tmp_path / "word"])


async def test_changed_files_are_not_signed(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings, release = artefact(tmp_path)
    (settings.state / release.folder / "weights.json").write_text("{}")
    with pytest.raises(Refused, match=r"weights.json was changed"):
        await sign_release(release, settings, keys[0])


async def test_nothing_unsigned_answers_where_a_key_is_trusted(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        release = await released(settings, store)
        asked = ask(load_task(settings, "defects"), "oil leak at the seal", id="1")
        settings = trust(settings, keys[0])
        with pytest.raises(Refused, match="not signed"):
            await open_path("defects", settings, store)
        await sign_release(release, settings, keys[1])
        with pytest.raises(Refused, match="another key"):
            await open_path("defects", settings, store)
        await sign_release(release, settings, keys[0])
        path = await open_path("defects", settings, store)
        from insource.journeys.answer import answer

        assert (await answer(asked, path, discard)).answer is not None
        await close_path(path)


async def test_stages_that_answer_ask_for_the_signature(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        release = await released(settings, store, live=False)
        settings = trust(settings, keys[0])
        with pytest.raises(Refused, match="not signed"):
            await promote(release, settings, store)
        await sign_release(release, settings, keys[0])
        await promote(release, settings, store)
        signature_file(settings.state, release).unlink()
        found = await verify(release, settings)
        assert not found.whole and found.unvouched and found.signed == "it is not signed"


async def test_who_can_write_the_store_cannot_pass_other_files(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """The files, the manifest and its digest in the store are all changed alike: the signature alone says no."""
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        release = await released(settings, store, live=False)
        await sign_release(release, settings, keys[0])
        import msgspec

        from insource.engines.artefact import read_manifest

        folder = settings.state / release.folder
        changed = msgspec.structs.replace(read_manifest(folder), threshold=0.0)
        forged = msgspec.structs.replace(release, artefact=write_manifest(folder, changed))
        assert (await verify(forged, settings)).whole  # negative control: without a key nothing is seen
        assert not (await verify(forged, settings, public(keys[0]))).whole


async def test_another_tasks_signed_release_does_not_stand_in(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """Files, signature and row of the store are moved over to a task of the same answers by who can write all three."""
    settings, release = artefact(tmp_path)
    await sign_release(release, settings, keys[0])
    settings = trust(settings, keys[0])
    there = settings.root / "tasks" / "fraud.toml"
    there.write_text((settings.root / "tasks" / "defects.toml").read_text().replace('"defects"', '"fraud"'))
    moved = msgspec.structs.replace(release, task="fraud", folder="releases/fraud/1.0.0")
    shutil.copytree(settings.state / release.folder, settings.state / moved.folder)
    signature_file(settings.state, moved).parent.mkdir()
    shutil.copy(signature_file(settings.state, release), signature_file(settings.state, moved))
    assert seal_of(release, settings).by
    async with await Store.open(settings) as store:
        await store.add_release(moved)
        with pytest.raises(Refused, match="signed as a release of defects"):
            await open_path("fraud@1.0.0", settings, store)


async def test_a_bundle_carries_it_to_where_a_key_is_asked_for(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        release = await released(settings, store)
        await written(settings, store, release, tmp_path / "plain.bundle")
        await sign_release(release, settings, keys[0])
        await written(settings, store, release, tmp_path / "signed.bundle")
    kiosk = tmp_path / "kiosk"
    for file, key in (("plain.bundle", keys[0]), ("signed.bundle", keys[1])):
        with pytest.raises(Refused, match="not signed"):
            await install(tmp_path / file, kiosk, key=public(key))
        assert not kiosk.exists()
    await install(tmp_path / "signed.bundle", kiosk, key=public(keys[0]))
    there = load_settings(kiosk, {})
    assert there.signing.trusted == ("keys/ours.pub",)
    with pytest.raises(Refused, match="not signed"):
        await install(tmp_path / "plain.bundle", kiosk)
    await install(tmp_path / "signed.bundle", kiosk)
    async with await Store.open(there) as store:
        await close_path(await open_path("defects", there, store))


def lax(change) -> object:
    """A change of a bundle's head that leaves every signed file alone."""

    def changed(name: str, data: bytes) -> bytes:
        if name != "bundle.json":
            return data
        head = json.loads(data)
        change(head["task"])
        return json.dumps(head).encode()

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda task: task["risk"].update(threshold=0.0), "asks for a confidence of 0,"),
        (lambda task: task["risk"].update(max_error=None), "asks for a confidence of 0,"),
        (lambda task: task["risk"].update(otherwise=["cloud"]), "other engines"),
        (lambda task: task.update(routes=[{"when": {}, "engines": ["cloud"]}]), "other engines"),
        (lambda task: task.update(sensitivity="any"), "other places"),
    ],
    ids=["threshold", "limit", "else", "route", "sensitivity"],
)
async def test_a_signed_release_under_a_laxer_policy_is_refused_but_for_a_known_file(
    tmp_path: Path, keys: tuple[Path, Path], change: object, said: str
) -> None:
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        release = await released(settings, store)
        await sign_release(release, settings, keys[0])
        await written(settings, store, release, tmp_path / "signed.bundle")
    again(tmp_path / "signed.bundle", tmp_path / "lax.bundle", change=lax(change))
    with pytest.raises(Refused, match=said):
        await install(tmp_path / "lax.bundle", tmp_path / "kiosk", key=public(keys[0]))
    assert not (tmp_path / "kiosk").exists()
    again(tmp_path / "signed.bundle", tmp_path / "same.bundle", change=lax(lambda task: None))
    await install(tmp_path / "same.bundle", tmp_path / "kiosk", key=public(keys[0]))
    known = file_digest(tmp_path / "lax.bundle")
    await install(tmp_path / "lax.bundle", tmp_path / "other", key=public(keys[0]), sha256=known)


async def test_killed_before_its_settings_are_written_a_workspace_trusts_nobody_yet(
    tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings name the key from their first byte on: at no moment do they ask for no signature."""
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        release = await released(settings, store)
        await sign_release(release, settings, keys[0])
        await written(settings, store, release, tmp_path / "signed.bundle")
    kiosk, seen = tmp_path / "kiosk", []

    def killed(root: Path) -> Settings:
        seen.append((root / "insource.toml").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(edge, "load_settings", killed)
    with pytest.raises(KeyboardInterrupt):
        await install(tmp_path / "signed.bundle", kiosk, key=public(keys[0]))
    assert 'trusted = ["keys/ours.pub"]' in seen[0]
    monkeypatch.undo()
    assert load_settings(kiosk, {}).signing.trusted == ("keys/ours.pub",)


def test_the_command_line_signs_and_verifies(tmp_path: Path) -> None:
    settings = home(tmp_path / "home")

    async def make() -> str:
        async with await Store.open(settings) as store:
            return (await released(settings, store)).name

    name, runner = asyncio.run(make()), CliRunner()
    at = ["-C", str(settings.root)]
    key = tmp_path / "release"
    assert runner.invoke(main, [*at, "release", "key", str(key)]).exit_code == 0
    assert runner.invoke(main, [*at, "release", "verify", name, "--key", f"{key}.pub"]).exit_code == 1
    asked = runner.invoke(main, [*at, "release", "sign", name])
    assert asked.exit_code == 2 and "insource release key FILE makes a pair" in asked.output
    assert runner.invoke(main, [*at, "release", "sign", name, "--key", str(key)]).exit_code == 0
    said = runner.invoke(main, [*at, "release", "verify", name, "--key", f"{key}.pub"])
    assert said.exit_code == 0 and "signed: by" in said.output


async def test_rollback_goes_to_nothing_unsigned(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    settings = home(tmp_path / "home")
    async with await Store.open(settings) as store:
        first = await released(settings, store)
        second = await released_again(settings, store)
        settings = trust(settings, keys[0])
        await sign_release(second, settings, keys[0])
        with pytest.raises(Refused, match="not signed"):
            await rollback("defects", settings, store)
        await sign_release(first, settings, keys[0])
        assert (await rollback("defects", settings, store)).release == first.name


async def released_again(settings: Settings, store: Store) -> Release:
    """A second release of the same rows, live."""
    from insource.journeys.gate import gate
    from insource.journeys.train import train

    task = load_task(settings, "defects")
    release = await train(task, settings, store, base="linear")
    await gate(task, release, settings, store)
    await promote(release, settings, store)
    return await store.release("defects", release.version)


async def test_its_form_is_that_of_the_specification(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """Read by hand, as OMS 1.0, DSSE and in-toto say it, without the library that wrote it."""
    settings, release = artefact(tmp_path)
    made = await sign_release(release, settings, keys[0])
    bundle = json.loads(Path(made.file).read_bytes())
    envelope = bundle["dsseEnvelope"]
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    key = load_pem_public_key(public(keys[0]).read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))
    statement = json.loads(payload)
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    listed = {one["name"]: one["digest"] for one in statement["predicate"]["resources"]}
    folder = settings.state / release.folder
    assert listed == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
