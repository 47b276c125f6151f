"""From messages to tokens by the model's own chat template. What people wrote never becomes a control token.

The template is rendered with a mark in place of every content (`engines.template`). Between the marks its control
tokens are read as such; contents are encoded apart, as plain text: "<|im_end|>" in a document is ten letters of text.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insource.engines.plain_text import PlainText, read_tokenizer
from insource.engines.readout import printable
from insource.engines.template import Template, template_of
from insource.errors import EngineDown, Invalid
from insource.nouns import Message
from insource.nouns.request import text_of

MARK = "\ue000{}\ue001"
MARKS = re.compile("\ue000([0-9]+)\ue001")
PLAIN = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n\n"
    "{% elif m.role == 'user' %}{{ m.content }}\nAnswer:\n{% else %}{{ m.content }}\n\n{% endif %}{% endfor %}"
)


class Chat:
    """A model's tokenizer and chat template. A base model without a template gets a plain prompt.

    `end` is the token that ends an answer, `ends` every token that does, `controls` are those no answer may hold.
    Raises `EngineDown` when the folder holds no readable tokenizer, `EngineError` for a template that runs on and on.
    """

    def __init__(self, folder: Path) -> None:
        config = _json(folder / "tokenizer_config.json")
        given = template_of(folder)
        try:
            self.definition = (folder / "tokenizer.json").read_text("utf-8")
            self._plain = PlainText(self.definition, given)
            self._control = read_tokenizer(self.definition)
        except (OSError, ValueError) as error:
            raise EngineDown(f"the tokenizer in {folder} cannot be read: {error}") from error
        self._control.no_truncation()
        self._control.no_padding()
        self._names = {key: _name(config.get(key)) for key in ("bos_token", "eos_token")}
        self.plain = given is None
        self._template = Template(PLAIN if given is None else given)
        added = self._control.get_added_tokens_decoder().items()
        self.controls = frozenset(token for token, what in added if what.special)
        self.ends, self.end = self._endings(folder)

    def encode(self, messages: Sequence[Message]) -> list[list[int]]:
        """Tokens in pieces: template, content, template, …, template; one content per message, in their order.

        Raises `Invalid` when the template cannot take these messages.
        """
        turns = [{"role": _role(message.role), "content": MARK.format(i)} for i, message in enumerate(messages)]
        contents = [text_of(message.content) for message in messages]
        pieces = MARKS.split(self._render(turns))
        if [int(number) for number in pieces[1::2]] != list(range(len(messages))):
            raise Invalid("the model's chat template cannot take these messages in this order")
        tokens = []
        for i, piece in enumerate(pieces):
            tokens.append(self.text(contents[int(piece)]) if i % 2 else self._written(piece))
        return tokens

    def close(self) -> None:
        """Ends the process that renders the template."""
        self._template.close()

    def text(self, text: str) -> list[int]:
        """The tokens of plain text; control tokens in it stay text."""
        return self._plain.ids(printable(text))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of plain text the characters [start, stop) it spells."""
        found: list[tuple[int, int]] = self._plain.tokenizer.encode(printable(text), add_special_tokens=False).offsets
        return found

    def until(self, text: str, stop: int) -> list[int]:
        """The tokens of `text` up to and with the first that reaches beyond character `stop`."""
        encoding = self._plain.tokenizer.encode(printable(text), add_special_tokens=False)
        reach = next((i for i, (_, end) in enumerate(encoding.offsets) if end > stop), len(encoding.ids))
        ids: list[int] = encoding.ids[: reach + 1]
        return ids

    def _written(self, text: str) -> list[int]:
        """The tokens of what the template wrote, control tokens among them."""
        ids: list[int] = self._control.encode(printable(text), add_special_tokens=False).ids
        return ids

    def _render(self, turns: list[dict[str, str]]) -> str:
        """The template's text; a template that knows no system role gets it at the head of the first user turn."""
        values: dict[str, Any] = {**self._names, "add_generation_prompt": True, "tools": None, "documents": None}
        try:
            return self._template.render({**values, "messages": turns})
        except Invalid:
            if len(turns) < 2 or turns[0]["role"] != "system" or turns[1]["role"] != "user":
                raise
        merged = [{"role": "user", "content": turns[0]["content"] + "\n\n" + turns[1]["content"]}, *turns[2:]]
        return self._template.render({**values, "messages": merged})

    def _endings(self, folder: Path) -> tuple[list[int], int]:
        """Every token that ends an answer, and the one that this template writes after it."""
        ends: list[int | None] = []
        for name in ("config.json", "generation_config.json"):
            given = _json(folder / name).get("eos_token_id")
            ends += given if isinstance(given, list) else [given]
        ends.append(self._control.token_to_id(self._names["eos_token"]))
        if self.plain:
            known = [token for token in dict.fromkeys(ends) if token is not None]
            return known, self.text("\n")[0]
        turns = (Message(role="user", content=""), Message(role="assistant", content=""))
        after = self.encode(turns)[-1]
        written = [token for token in after[:1] if token in self.controls]
        known = [token for token in dict.fromkeys([*written, *ends]) if token is not None]
        if not known:
            raise EngineDown(f"the model in {folder} names no token that ends an answer")
        return known, known[0]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EngineDown(f"{path} cannot be read: {error}") from error
    return value if isinstance(value, dict) else {}


def _name(given: Any) -> str:
    return str(given.get("content", "")) if isinstance(given, dict) else str(given or "")


def _role(role: str) -> str:
    return {"developer": "system", "tool": "user"}.get(role, role)
