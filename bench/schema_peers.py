"""One question for every grammar engine: is this text let through, and what does a mask cost on the way."""

import importlib.util
import json
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from insource.decode.mask import Vocabulary
from insource.errors import Invalid

PATIENCE_S = 10.0  # of the processor's time


class Matcher:
    """A grammar of llguidance under a vocabulary. Raises `Invalid` when it does not compile."""

    compiled_ms = 0.0  # by whoever calls, unless it was elsewhere
    disagreed = 0  # tokens that the mask left out and the grammar took, or the other way round

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        from llguidance import LLMatcher

        self.vocabulary = vocabulary
        self._tokens = vocabulary.tokens
        self._matcher = LLMatcher(self._tokens, grammar, log_level=0)
        if self._matcher.is_error():
            raise Invalid(self._matcher.get_error())

    def accepts(self, text: str) -> bool:
        """Whether the grammar lets through `text` and its end."""
        tokens = [*self._tokens.tokenize_str(text), self._tokens.eos_token]
        return bool(self._matcher.validate_tokens(tokens) == len(tokens))

    def mask_us(self, text: str) -> list[float]:
        """µs of the mask before each token of `text`, as far as it is let through."""
        matcher = self._matcher.deep_copy()
        matcher.reset()
        found = []
        for token in self._tokens.tokenize_str(text):
            start = time.thread_time()
            bits = matcher.compute_bitmask()
            found.append((time.thread_time() - start) * 1e6)
            allowed = bool(bits[token // 8] >> token % 8 & 1)
            taken = bool(matcher.try_consume_tokens([token]))
            self.disagreed += allowed != taken
            if not taken:
                break
        return found

    def capped(self, schema: dict[str, Any], value: Any) -> str:  # noqa: ARG002 - only our grammars have caps
        """Why a valid instance does not get through."""
        return "rejected"


class Llguidance(Matcher):
    """A schema given to llguidance as it is."""

    def __init__(self, vocabulary: Vocabulary, schema: dict[str, Any]) -> None:
        from llguidance import LLMatcher

        super().__init__(vocabulary, LLMatcher.grammar_from_json_schema(json.dumps(schema)))


class XGrammar:
    """XGrammar in a process of its own: it may crash, or not come to an end. `strict_mode` is off, as in MaskBench."""

    disagreed = 0

    @classmethod
    def found(cls, vocabulary: Vocabulary, end: int) -> "XGrammar | None":
        """None where it is not installed."""
        return cls(vocabulary, end) if importlib.util.find_spec("xgrammar") else None

    def __init__(self, vocabulary: Vocabulary, end: int) -> None:
        self._given = (vocabulary.pieces(range(vocabulary.size)), end)
        self._tokenize = vocabulary.tokens.tokenize_str
        self._start()

    def compile(self, schema: dict[str, Any]) -> Any:
        """The schema's matcher. Raises `Invalid` when it is refused, crashes, or takes ten seconds."""
        said = self._ask(("compile", json.dumps(schema)))
        if isinstance(said, str):
            raise Invalid(said)
        self.compiled_ms = said
        return self

    def accepts(self, text: str) -> bool:
        """Whether the grammar lets through `text` and its end."""
        return self._ask(("accepts", self._tokenize(text))) is True

    def mask_us(self, text: str) -> list[float]:
        """µs of the mask before each token of `text`, as far as it is let through."""
        found = self._ask(("mask_us", self._tokenize(text)))
        return found if isinstance(found, list) else []

    def capped(self, schema: dict[str, Any], value: Any) -> str:  # noqa: ARG002
        """Why a valid instance does not get through."""
        return "rejected"

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, *self._given), daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.recv() == "ready"

    def _ask(self, question: tuple[str, Any]) -> Any:
        try:
            self._pipe.send(question)
            until = _spent(self._process.pid) + PATIENCE_S
            while _spent(self._process.pid) < until:
                if self._pipe.poll(0.2):
                    return self._pipe.recv()
            reason = "takes ten seconds"
        except (EOFError, OSError):
            reason = "crashes"
        self.close()
        self._start()
        return reason


def _spent(process: int | None) -> float:
    """The processor's time that a process has had, in seconds."""
    said = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")


def _answer(pipe: Connection, pieces: list[bytes], end: int) -> None:
    """The other process: reads questions until the pipe closes."""
    import xgrammar

    tokens = xgrammar.TokenizerInfo(pieces, xgrammar.VocabType.RAW, vocab_size=len(pieces), stop_token_ids=[end])
    compiler = xgrammar.GrammarCompiler(tokens, max_threads=1, cache_enabled=False)
    mask = np.full((1, (len(pieces) + 31) // 32), -1, dtype=np.int32)
    compiled: Any = None
    pipe.send("ready")
    while True:
        what, given = pipe.recv()
        if what == "compile":
            start = time.thread_time()
            try:
                compiled = compiler.compile_json_schema(
                    given, any_whitespace=False, separators=(",", ":"), strict_mode=False
                )
                pipe.send((time.thread_time() - start) * 1000)
            except RuntimeError as error:
                pipe.send(str(error)[:200] or "refused")
            continue
        matcher, times = xgrammar.GrammarMatcher(compiled), []
        through = True
        for token in given:
            start = time.thread_time()
            if what == "mask_us":
                matcher.fill_next_token_bitmask(mask)
                times.append((time.thread_time() - start) * 1e6)
            if not matcher.accept_token(token):
                through = False
                break
        pipe.send(times if what == "mask_us" else bool(through and matcher.accept_token(end)))
