"""System prompts tell tasks apart: calls that were told different things do different work, whatever their texts."""

from collections import Counter
from collections.abc import Sequence

from insource.collect.calls import Call
from insource.collect.findings import cut
from insource.collect.near import near_groups
from insource.errors import Invalid
from insource.nouns import JsonObject, Noun, digest

MOST = 5_000
FEW = 20
SHARE = 0.2


class Prompt(Noun, frozen=True, kw_only=True):
    """What calls were told: the commonest wording, the name that chooses it (8 hexadecimal digits), and its calls.

    Wordings that differ in a date or a name are one prompt: they are near duplicates of each other.
    """

    name: str
    text: str
    rows: int

    def shown(self) -> JsonObject:
        """The prompt in a table, its text cut."""
        return {"prompt": self.name, "rows": self.rows, "text": cut(self.text) or "(none)"}


def prompts(calls: Sequence[Call]) -> tuple[list[Prompt], dict[str, str]]:
    """The prompts, the commonest first, and for each wording the name of its prompt."""
    counted = Counter(call.system for call in calls if not call.fault)
    wordings = [text for text, _ in counted.most_common(MOST)]
    groups = near_groups([text or "\0none" for text in wordings])
    members: dict[int, list[str]] = {}
    for text, group in zip(wordings, groups, strict=True):
        members.setdefault(group, []).append(text)
    found: list[Prompt] = []
    names: dict[str, str] = {}
    for texts in members.values():
        name = digest(texts[0])[:8]
        names |= dict.fromkeys(texts, name)
        found.append(Prompt(name=name, text=texts[0], rows=sum(counted[text] for text in texts)))
    return sorted(found, key=lambda prompt: (-prompt.rows, prompt.name)), names


def chosen(calls: Sequence[Call], wanted: str, instruction: str) -> tuple[list[Call], Prompt | None, list[Prompt]]:
    """The calls of one prompt, that prompt, and the others.

    It is the one whose name begins with `wanted`; else the one that says what the task's `instruction` says; else the
    commonest. Calls with a fault stay. Where nearly every call was told something else, as when documents are put into
    the prompt, prompts tell no tasks apart: all calls are kept. Raises `Invalid` when no prompt is called so.
    """
    found, names = prompts(calls)
    if not found or (not wanted and len(found) > max(FEW, SHARE * len(calls))):
        return list(calls), None, []
    prompt = next((p for p in found if wanted and p.name.startswith(wanted.lower())), None)
    if wanted and prompt is None:
        known = ", ".join(f"{p.name} ({p.rows:,} calls)" for p in found[:5])
        raise Invalid(f"no system prompt is called {wanted[:20]!r}", hint=f"there are {known}")
    prompt = prompt or _alike(found, instruction) or found[0]
    kept = [call for call in calls if call.fault or names.get(call.system) == prompt.name]
    return kept, prompt, [other for other in found if other is not prompt]


def _alike(found: Sequence[Prompt], instruction: str) -> Prompt | None:
    if not instruction.strip():
        return None
    groups = near_groups([instruction, *(prompt.text or "\0none" for prompt in found)])
    return next((prompt for prompt, group in zip(found, groups[1:], strict=True) if group == groups[0]), None)
