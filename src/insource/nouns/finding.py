"""What a scan found, and what the owner wants done about it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from insource.nouns.base import Noun

Action = Literal["note", "redact", "review", "block"]
ACTIONS: tuple[Action, ...] = ("note", "redact", "review", "block")  # each is stricter than those before it
# what can be looked for without a model for names; what each is stands in scan/kinds.toml
KINDS = (
    "email", "url", "phone", "card", "iban", "ip_address", "mac_address", "wallet", "birth_date", "age", "document_id",
    "national_id", "api_key", "password", "jwt", "private_key", "control", "own_term",
)  # fmt: skip


class Finding(Noun, frozen=True, kw_only=True):
    """One thing that was found, without what it says: `text[start:stop]`, in characters.

    `kind` is what policies speak of ("email"), `form` how it was written ("us_ssn"). `at` says where in a JSON value
    the text stands, as a JSON pointer (RFC 6901); it is empty for a plain text. A pointer ends in "/~key" where the
    text is the name of a key, which is not itself said.
    """

    kind: str
    form: str = ""
    start: int
    stop: int
    at: str = ""


class ScanPolicy(Noun, frozen=True, kw_only=True):
    """What is done about each kind; a kind that is not named is not looked for.

    `note` says so and goes on, `redact` replaces, `review` goes on and asks a human, `block` stops.
    """

    actions: dict[str, Action] = {}

    def strictest(self, findings: tuple[Finding, ...]) -> Action | None:
        """The strictest action that any of the findings calls for; None when none does."""
        called = {self.actions.get(finding.kind) for finding in findings}
        return next((action for action in reversed(ACTIONS) if action in called), None)


class Scan(Noun, frozen=True, kw_only=True):
    """What is looked for in what is asked and in what is answered. `own_terms` are the owner's own words.

    With `restore`, what was replaced in the question is put back into the answer to the same call.
    """

    input: ScanPolicy = ScanPolicy()
    output: ScanPolicy = ScanPolicy()
    own_terms: tuple[str, ...] = ()
    restore: bool = True


class Hit(Noun, frozen=True, kw_only=True, gc=False):
    """Everything of one kind that was found in a call, and what was done about it; never what it says.

    `places` are the first of the `count`, each a part of the call and characters in it: "messages[1].content 17:34".
    """

    kind: str
    action: Action
    count: int
    places: tuple[str, ...] = ()


def scan_faults(sides: Mapping[str, Mapping[str, str]], terms: Sequence[str], *, queue: bool) -> list[str]:
    """What is wrong with the policies called `sides` (kind to action), in words. Review takes a `queue`."""
    named = [(f"scan.{side}", kind, action) for side, actions in sides.items() for kind, action in actions.items()]
    allowed = [action for action in ACTIONS if queue or action != "review"]
    more = "" if queue else "; what is passed through to an engine has no review queue"
    wrong = [
        f"{at}: nothing is called {kind!r}; kinds: {', '.join(KINDS)}" for at, kind, _ in named if kind not in KINDS
    ]
    wrong += [
        f"{at}.{kind}: {action!r} is no action here; actions: {', '.join(allowed)}{more}"
        for at, kind, action in named
        if action not in allowed
    ]
    if bool(terms) != any(kind == "own_term" for _, kind, _ in named):
        wrong.append("scan: own_terms and the kind 'own_term' go together: terms, and what is done about them")
    return wrong
