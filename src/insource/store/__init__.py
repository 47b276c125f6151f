"""The only SQL and the only blob access. State lies in `.insource/`: `insource.db` and `blobs/`."""

from insource.store.blobs import Blobs
from insource.store.store import Store

__all__ = ["Blobs", "Store"]
