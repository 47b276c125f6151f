"""Is a tokenizer.json safe to run on texts of strangers? Its parts are known, none swells a text, none runs on.

A tokenizer holds regular expressions and replacements that its publisher chose: one that takes minutes on a line of
blanks, or makes a megabyte of each letter, stops a server. Its parts are looked at first; then it is tried in a
confined process, whose computing is counted, on texts made to be slow, with its own patterns in them. That finds what
is easily found; a pattern that is slow on one text in a million is not.
"""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from insource.engines.confined import Confined, Limits, Stopped
from insource.errors import Invalid, Refused
from insource.nouns import JsonValue

PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "model")
KNOWN = {
    *("Sequence", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "Strip", "StripAccents", "Prepend", "Replace"),
    *("BertNormalizer", "Precompiled", "ByteLevel", "BertPreTokenizer", "CharDelimiterSplit", "Digits", "Metaspace"),
    *("Punctuation", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit", "TemplateProcessing"),
    *("BertProcessing", "RobertaProcessing", "ByteFallback", "Fuse", "WordPiece", "BPEDecoder", "CTC", "BPE"),
    *("Unigram", "WordLevel", "FixedLength", "RandomOrder"),
}
MOST_PARTS, LONGEST_PATTERN, LONGEST_REPLACEMENT = 64, 8_000, 64
LENGTH, MOST_LETTERS = 2_000, 24
SLOWEST_S, MOST_TOKENS = 2.0, 8
LIMITS = Limits(computing_s=10.0, waiting_s=300.0, memory=4_000_000_000)
HINT = "do not use it: text of strangers would stop the server"


def check_tokenizer(path: Path) -> None:
    """Raises `Refused` for a tokenizer that is not safe to run. What is none at all is left for loading to tell."""
    definition = path.read_text("utf-8")
    try:
        described = msgspec.json.decode(definition, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise Invalid(f"{path} is no JSON object: {error}") from error
    patterns: list[str] = []
    for part in PARTS:
        _look(described.get(part), part, [], patterns)
    if described.get("model") and find_spec("tokenizers") is not None:
        _try(path, definition, "".join(patterns))


def _look(part: JsonValue, where: str, seen: list[str], patterns: list[str]) -> None:
    """Walks through a part and those within it, and collects their patterns. Raises `Refused`."""
    if not isinstance(part, dict):
        return
    kind = part.get("type")
    seen.append(str(kind))
    if str(kind) not in KNOWN and not (where == "model" and kind is None):
        raise Refused(f"tokenizer.json: a {where} of the unknown kind {kind!r}", hint=HINT)
    if len(seen) > MOST_PARTS:
        raise Refused(f"tokenizer.json: a {where} of more than {MOST_PARTS} parts", hint=HINT)
    patterns.append(str(part.get("pattern", "")))
    lengths = {
        "pattern": (len(patterns[-1]), LONGEST_PATTERN),
        "replacement": (len(str(part.get("content", ""))), LONGEST_REPLACEMENT),
        "text put before": (len(str(part.get("prepend", ""))), LONGEST_REPLACEMENT),
    }
    for what, (length, most) in lengths.items():
        if length > most:
            raise Refused(f"tokenizer.json: a {what} of {length:,} characters in its {where}", hint=HINT)
    for inner in ("normalizers", "pretokenizers", "processors", "decoders"):
        for each in _listed(part.get(inner) or [], where):
            _look(each, where, seen, patterns)


def _listed(parts: JsonValue, where: str) -> list[JsonValue]:
    if not isinstance(parts, list):
        raise Refused(f"tokenizer.json: the parts of its {where} are no list", hint=HINT)
    return parts


def _try(path: Path, definition: str, patterns: str) -> None:
    """Runs it on nasty texts, each of `LENGTH` characters at least. Raises `Refused`."""
    confined = Confined("insource.engines.tokenizer_check", LIMITS)
    try:
        said = confined.ask(definition)
        for name, text in _nasty(patterns) if said == "read" else ():
            found = confined.ask(text)
            if found["seconds"] > SLOWEST_S or found["tokens"] > MOST_TOKENS * len(text.encode()):
                words = f"{found['seconds']:.1f} s and {found['tokens']:,} tokens for {len(text):,} characters"
                raise Refused(f"{path.name} takes {words} ({name})", hint=HINT)
    except Stopped as error:
        raise Refused(
            f"{path.name} had to be stopped on a text of {LENGTH:,} characters: {error}", hint=HINT
        ) from error
    finally:
        confined.close()


def _nasty(patterns: str) -> Iterator[tuple[str, str]]:
    """Texts by what they are: runs that nearly fit a pattern, with what it needs further on."""
    plain = "aA0 \n\t._-'\"!=/é中🦊\u0301\u200b"
    own = "".join(sorted({letter for letter in patterns if letter.isprintable()} - set(plain)))[:MOST_LETTERS]
    rest = "\x00" + plain + own + patterns[:LENGTH]
    for letter in plain + own:
        yield f"one letter again and again: {letter!r}", letter * LENGTH
        yield f"the same before others: {letter!r}", letter * LENGTH + rest
    for pair in ("ab", "a ", " a", "a0", "a'", "\n ", "é!", "中a", "<|"):
        yield f"two letters in turn: {pair!r}", pair * (LENGTH // 2) + rest


class Trial:
    """Reads the first question as a tokenizer, and encodes all others with it."""

    def __init__(self) -> None:
        self._tokenizer: Any = None

    def __call__(self, question: str) -> JsonValue:
        """Whether it could be read; then the seconds of computing and the number of tokens of each text."""
        from insource.engines.plain_text import read_tokenizer

        if self._tokenizer is None:
            try:
                self._tokenizer = read_tokenizer(question)
            except ValueError:
                return "unreadable"
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
            return "read"
        start = time.process_time()
        tokens = len(self._tokenizer.encode(question, add_special_tokens=False).ids)
        return {"seconds": time.process_time() - start, "tokens": tokens}


def start() -> Callable[[str], JsonValue]:
    """The confined side; what it imports is loaded here, before files can no longer be opened."""
    trial = Trial()
    trial("{}")
    return trial
