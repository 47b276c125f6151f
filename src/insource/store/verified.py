"""What a look at the audit chain finds."""

from insource.nouns import Noun

FIRST = "0" * 64


class Own:
    """A connection that alone writes the audit chain of `head`, and so knows its last entry."""

    head: "Head"


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


class Span(Noun, frozen=True, kw_only=True):
    """What there is of a chain: all behind `foot`, which is no more there, up to `head`."""

    foot: Head
    head: Head


class Verified(Noun, frozen=True, kw_only=True):
    """What a look at everything found; `faults` are the first 1,000.

    `foot` and `head` are of the first chain; `replicas` are the chains of the gateways of a shared database, if any.
    """

    entries: int
    rows: int
    foot: Head
    head: Head
    replicas: tuple[Span, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every chain, the first one first."""
        return (Span(foot=self.foot, head=self.head), *self.replicas)
