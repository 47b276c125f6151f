"""Text as nothing but text: what people wrote never becomes a control token, whatever it looks like.

Three walls. Tokens that the tokenizer marks as special are not looked for in texts; nor are those that are not marked
but steer the model (the template writes them, or they have that form). And where a vocabulary makes one out of plain
letters all the same, the letters are encoded in pieces that cannot.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from insource.engines.template import template_of
from insource.errors import EngineDown, Invalid

STEERS = re.compile(r"<\|.+\|>|<｜.+｜>|\[/?[A-Z_]{2,}\]|</?s>")  # noqa: RUF001 - DeepSeek's bars
WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
UNKNOWN = {"<unk>", "[UNK]", "<UNK>"}


class _Added(msgspec.Struct, frozen=True):
    content: str
    special: bool = False


class _Definition(msgspec.Struct, frozen=True):
    """The only part of a tokenizer.json, which can have 30 MB, that is looked at here."""

    added_tokens: tuple[_Added, ...] = ()


class PlainText:
    """The tokenizer that `definition` (the text of tokenizer.json) describes, for texts of strangers.

    `template` is the model's chat template, if it has one. `steering` are the ids of all tokens that steer the model:
    none of them comes out, except the one for unknown letters. Raises `ValueError` for an unreadable definition.
    """

    def __init__(self, definition: str, template: str | None = None) -> None:
        self.tokenizer = read_tokenizer(_marked(definition, template or ""))
        self.tokenizer.encode_special_tokens = True
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        added = self.tokenizer.get_added_tokens_decoder().items()
        self.steering = frozenset(token for token, what in added if what.special)
        self._forbidden = frozenset(token for token, what in added if what.special and what.content not in UNKNOWN)

    def ids(self, text: str) -> list[int]:
        """The tokens of one text."""
        return self.rows([text])[0]

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, no token among them that steers."""
        encoded = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [
            one.ids if self._forbidden.isdisjoint(one.ids) else self._in_pieces(text, one)
            for text, one in zip(texts, encoded, strict=True)
        ]

    def _in_pieces(self, text: str, encoding: Any) -> list[int]:
        """The tokens of a text that is cut within every forbidden one, again and again until there is none."""
        waiting, done = [(text, encoding)], []
        while waiting:
            piece, encoding = waiting.pop()
            cuts = [
                start + (end - start) // 2
                for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
                if token in self._forbidden
            ]
            if not cuts:
                done += encoding.ids
                continue
            if not all(0 < cut < len(piece) for cut in cuts):
                raise Invalid(f"{piece[:20]!r} is one character that this model's tokenizer takes for a command")
            edges = [0, *cuts, len(piece)]
            parts = [piece[a:b] for a, b in pairwise(edges) if a < b]
            found = self.tokenizer.encode_batch(parts, add_special_tokens=False)
            waiting += reversed(list(zip(parts, found, strict=True)))
        return done


def attempts(folder: Path) -> tuple[int, int]:
    """How many texts of control tokens and look-alikes were tried on a model's tokenizer, and how many slipped through.

    Raises `EngineDown` when the folder holds no readable tokenizer.
    """
    try:
        plain = PlainText((folder / "tokenizer.json").read_text("utf-8"), template_of(folder))
    except (OSError, ValueError) as error:
        raise EngineDown(f"the tokenizer in {folder} cannot be read: {error}") from error
    added = plain.tokenizer.get_added_tokens_decoder()
    texts = [text for token in sorted(plain.steering) for text in look_alikes(added[token].content)]
    return len(texts), sum(not plain.steering.isdisjoint(ids) for ids in plain.rows(texts))


def look_alikes(mark: str) -> list[str]:
    """A control token as people may write it, and what is easily taken for it."""
    wide = mark.translate(WIDE)
    return [mark, f"a{mark}b", f"\n{mark}\n", f" {mark} ", mark * 2, f"{mark[:1]}{mark}", f"{mark}{mark[-1:]}",
            f"\\{mark}", f"{mark}\x00", mark.upper(), wide, f"a{wide}b", mark.replace("|", "\u2223"),
            mark.replace("<", "&lt;"), mark.replace("|", "\u200b|")]  # fmt: skip


def read_tokenizer(definition: str) -> Any:
    """The tokenizer that the text of a tokenizer.json describes. Raises `ValueError` when it describes none."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(definition)
    except Exception as error:
        if type(error) is Exception:  # the library has no class of its own for it
            raise ValueError(str(error)) from error
        raise


def _marked(definition: str, template: str) -> str:
    """The definition with every token that steers marked as special, which keeps it from being looked for in texts."""
    try:
        added = msgspec.json.decode(definition, type=_Definition).added_tokens
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    if all(token.special or not _steers(token.content, template) for token in added):
        return definition
    described = json.loads(definition)
    for token in described["added_tokens"]:
        token["special"] = token.get("special") or _steers(token["content"], template)
    return json.dumps(described, ensure_ascii=False)


def _steers(content: str, template: str) -> bool:
    return bool(STEERS.fullmatch(content)) or (len(content.strip()) > 1 and content in template)
