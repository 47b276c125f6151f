"""What a person should look at: one alert for each cause, open until the cause is gone."""

from typing import Literal

from insource.nouns.base import Noun


class Cause(Noun, frozen=True, kw_only=True):
    """Why a person should look. `cause` names it, the same each time that it is seen ("watch drift").

    `words` say what was found, `next` what to do (a command), `evidence` is the id of a report, or empty. None of them
    holds a caller's text.
    """

    cause: str
    words: str
    next: str = ""
    evidence: str = ""


class Alert(Noun, frozen=True, kw_only=True):
    """A cause that was seen `since` then (UTC, ISO 8601), of a task or, where that is empty, of the workspace.

    `id` names this alert alone: the same cause, seen again after it was gone, is another. `closed` is when it was gone.
    """

    id: str
    cause: str
    task: str = ""
    state: Literal["open", "closed"] = "open"
    words: str
    next: str = ""
    evidence: str = ""
    since: str
    closed: str = ""
