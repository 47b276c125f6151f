"""One scanner for everything there is, made once: its expressions take a second to compile."""

import pytest

from insource.nouns import ScanPolicy
from insource.scan.find import Shapes, table
from insource.scan.names import KINDS
from insource.scan.scanner import LITERAL, Scanner

TERMS = ("Project Bluebird", "Bluebird", "R&D", "C++", "Straße 9", "東京")


class TwoNames:
    """A model for names that knows two."""

    def find(self, text: str) -> list[tuple[str, int, int]]:
        known = (("person", "Ada Lovelace"), ("place", "Zürich"))
        return [(kind, text.index(name), text.index(name) + len(name)) for kind, name in known if name in text]


@pytest.fixture(scope="session")
def shapes() -> Shapes:
    return Shapes(tuple(table()))


@pytest.fixture(scope="session")
def everything() -> Scanner:
    kinds = [kind for kind in (*table(), *KINDS, "own_term") if kind != LITERAL]
    return Scanner(ScanPolicy(actions=dict.fromkeys(kinds, "redact")), terms=TERMS, names=TwoNames())


@pytest.fixture(scope="session")
def prose(everything: Scanner) -> Scanner:
    """The same without the model for names, which waits for the end of a sentence."""
    actions = {kind: action for kind, action in everything.policy.actions.items() if kind not in KINDS}
    return Scanner(ScanPolicy(actions=actions), terms=TERMS)
