"""A model's chat template: a program that strangers wrote, shown and run as such.

It is rendered in a process of its own (`engines.confined`) with marks in place of every content, so it never sees what
people wrote; what it makes of the same turns is asked once.
"""

import difflib
import json
from pathlib import Path

import msgspec

from insource.engines.confined import Confined, Stopped
from insource.errors import EngineDown, EngineError, Invalid, Refused
from insource.nouns import JsonObject, visible

LONGEST = 128_000  # bytes; the longest of the catalogue's models has a sixth of that
REMEMBERED = 256
SHOWN = 12


class Template:
    """A template's text, to be rendered. Raises `Refused` when it is longer than any honest one."""

    def __init__(self, text: str) -> None:
        if len(text.encode("utf-8", "replace")) > LONGEST:
            raise Refused(f"a chat template of {len(text):,} characters", hint=f"{LONGEST:,} bytes are allowed")
        self.text = text
        self._renderer = Confined("insource.engines.template_render")
        self._known: dict[str, JsonObject] = {}

    def render(self, values: JsonObject) -> str:
        """What it makes of `values`. Raises `Invalid` when it refuses them, `EngineError` when it had to be stopped."""
        asked = json.dumps(values, sort_keys=True)
        if asked not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[asked] = self._ask(values)
        said = self._known[asked]
        if "stopped" in said:
            words = f"the model's chat template was stopped: {said['stopped']}"
            raise EngineError(words, hint="use another model, or another revision of it")
        if "fault" in said:
            raise Invalid(f"the model's chat template refuses these messages: {said['fault']}")
        return str(said["text"])

    def close(self) -> None:
        """Ends its process."""
        self._renderer.close()

    def _ask(self, values: JsonObject) -> JsonObject:
        try:
            said: JsonObject = self._renderer.ask({"template": self.text, "values": values})
        except Stopped as error:
            return {"stopped": str(error)}
        return said


def template_of(folder: Path) -> str | None:
    """The chat template of a model's folder, None for a base model without one. Raises `EngineDown`."""
    path = folder / "chat_template.jinja"
    try:
        if path.is_file():
            return path.read_text("utf-8")
        config = msgspec.json.decode((folder / "tokenizer_config.json").read_bytes(), type=dict[str, object])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise EngineDown(f"the chat template in {folder} cannot be read: {error}") from error
    given = config.get("chat_template")
    if isinstance(given, list):
        named = [each for each in given if isinstance(each, dict) and each.get("name") == "default"]
        given = named[0].get("template") if named else None
    return given if isinstance(given, str) else None


def check_template(text: str | None) -> None:
    """Raises `Refused` for a template that breaks its limits on a short conversation; one may refuse it otherwise."""
    if text is None:
        return
    template = Template(text)
    try:
        sample(template)
    except EngineError as error:
        raise Refused(f"{error}", hint="do not use it: a template that runs on has no honest reason to") from error
    finally:
        template.close()


def sample(template: Template) -> str:
    """What the template makes of a short conversation, or why it refuses it. Raises `EngineError` when stopped."""
    turns = [("system", "SYSTEM"), ("user", "QUESTION"), ("assistant", "ANSWER"), ("user", "NEXT QUESTION")]
    said = ""
    for left_out in (0, 1):  # some know no system's turn
        messages = [{"role": role, "content": content} for role, content in turns[left_out:]]
        try:
            return template.render({"messages": messages, "add_generation_prompt": True, "tools": None})
        except Invalid as error:
            said = said or f"({error})"
    return said


def difference(before: str | None, after: str | None) -> list[str]:
    """In words, line by line, what a changed template does otherwise; empty when it is the same. Safe to show."""
    if before == after:
        return []
    old, new = ((text or "").splitlines() for text in (before, after))
    lines = list(difflib.unified_diff(old, new, lineterm="", n=0))[2:]  # the first two are headings
    changed = [line for line in lines if not line.startswith("@@")]
    added = sum(line.startswith("+") for line in changed)
    words = [f"the chat template changed (lines added: {added}, removed: {len(changed) - added})"]
    words += [f"  {line}" for line in changed[:SHOWN]] + ["  …"] * (len(changed) > SHOWN)
    for what, text in (("before", before), ("now", after)):
        words += [f"a conversation {what}:", *(f"  | {line}" for line in _sampled(text).splitlines()[: 2 * SHOWN])]
    return [visible(line)[:400] for line in words]


def _sampled(text: str | None) -> str:
    if text is None:
        return "(it had no template)"
    template = Template(text)
    try:
        return sample(template)
    except EngineError as error:
        return f"({error})"
    finally:
        template.close()
