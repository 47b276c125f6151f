"""What a look at the audit chain finds."""

from insource.nouns import Noun

FIRST = "0" * 64


class Fault(Noun, frozen=True, kw_only=True):
    """What is not as it was written: an entry (`seq`, 0 for a row without one), the row it is about, and how."""

    seq: int
    kind: str
    about: str
    what: str


class Head(Noun, frozen=True, kw_only=True):
    """The last entry; `seq` 0 and a hash of zeros where there is none."""

    seq: int = 0
    hash: str = FIRST


class Verified(Noun, frozen=True, kw_only=True):
    """What a look at the whole chain found, from `foot` on, which is no more there. `faults` are the first 1,000."""

    entries: int
    rows: int
    foot: Head
    head: Head
    faults: tuple[Fault, ...] = ()
