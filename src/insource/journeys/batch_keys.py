"""What a document of a batch is known by: its text, who answers, and under which policy."""

import hashlib
from collections import Counter

import msgspec

from insource.journeys.answer import Path, input_hash
from insource.nouns import digest


def policy(path: Path, more: str = "") -> str:
    """The name of what answers hang on, by its content: task, releases, engines, and what is demanded of them.

    `more` is what else they hang on. Owner and acceptance of a task change no answer.
    """
    task = path.task and msgspec.structs.replace(path.task, owner="", acceptance={})
    tiers = [(one.engine.name, one.release, one.threshold, one.terms) for one in (*path.tiers, *path.spare)]
    return digest((task, path.threshold, tiers, more))


class Keys:
    """The keys of one file's documents, in the order in which they are asked for.

    Where a text stands in a file several times each has a key of its own: the first of them, the second and so on. Only
    who holds the tenant's `secret` can tell whether a text is behind a key.
    """

    def __init__(self, secret: bytes, policy: str) -> None:
        self._secret, self._policy = secret, policy.encode()
        self._seen: Counter[bytes] = Counter()

    def of(self, text: str) -> str:
        """The key of the next document, 64 hex digits."""
        data = text.encode()
        same = hashlib.blake2b(data, digest_size=16).digest()
        self._seen[same] += 1
        return input_hash(self._secret, b"%s %d %s" % (self._policy, self._seen[same], data))
