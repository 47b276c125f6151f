"""What a scan found, and what the owner wants done about it."""

from typing import Literal

from insource.nouns.base import Noun

Action = Literal["note", "redact", "review", "block"]
ACTIONS: tuple[Action, ...] = ("note", "redact", "review", "block")  # each is stricter than those before it


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
