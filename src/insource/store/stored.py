"""What the store holds, as nouns. What it holds damaged is the store's fault, not the caller's."""

from typing import TypeVar

from insource.errors import Invalid, StoreError
from insource.nouns import from_json
from insource.store.thread import REPAIR

T = TypeVar("T")


def stored(body: bytes | str, kind: type[T]) -> T:
    """The noun that a row spells. Raises `StoreError` when it spells none."""
    try:
        return from_json(body, kind)
    except Invalid as error:
        said = f"the store holds a damaged {kind.__name__.lower()}: {error}"
        raise StoreError(said, hint=REPAIR) from error
