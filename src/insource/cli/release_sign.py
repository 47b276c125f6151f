"""`insource release key` and `insource release sign`: whose releases these are."""

from pathlib import Path

import click

from insource.cli.door import Door, verb
from insource.cli.release_pick import newest, pick
from insource.cli.stored import with_store
from insource.errors import Invalid
from insource.journeys.sign import Signed, sign_release
from insource.release.signature import make_key
from insource.settings import Settings
from insource.store import Store


@verb("key", epilog="\b\nExample:\n  insource release key ~/keys/release")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def key(door: Door, file: Path) -> None:
    """Make a key that signs releases: the private half in FILE, the public half in FILE.pub.

    Keep FILE away from the machine that serves: who has it can sign in your name.
    """
    public = make_key(file.expanduser())
    words = (
        f"{file} signs: insource release sign TASK --key {file}\n"
        f"{public} verifies: name it in insource.toml, and nothing else answers\n\n"
        f'[signing]\ntrusted = ["{public}"]'
    )
    door.show({"private": str(file), "public": str(public)}, words)


@verb("sign", epilog="\b\nExample:\n  insource release sign tickets@1.0.0 --key ~/keys/release")
@click.argument("name", metavar="TASK[@VERSION]")
@click.option("--key", "file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="The private key: PEM, ECDSA on P-256, P-384 or P-521.")  # fmt: skip
def sign(door: Door, name: str, file: Path | None) -> None:
    """Sign every file of a release (OpenSSF Model Signing), with no network. TASK alone means the newest release."""
    if file is None:
        raise Invalid("no key was named", hint="--key FILE; insource release key FILE makes a pair")
    private = file.expanduser()

    async def work(settings: Settings, store: Store) -> Signed:
        return await sign_release(await pick(name, settings, store, newest), settings, private)

    made = with_store(door, work)
    words = f"{made.release} is signed: {made.file}\n\nnext: insource release verify {made.release} --key {file}.pub"
    door.show(made, words)


VERBS = (key, sign)
