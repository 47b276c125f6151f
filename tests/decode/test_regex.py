"""A regex as the form of a call: texts it matches whole, and no other; what a grammar cannot honour is refused."""

import asyncio
import time

import pytest

from insource.decode.check import faults
from insource.decode.grammar import for_form, for_regex
from insource.decode.mask import GrammarMask, Vocabulary
from insource.engines.base_model import BaseModel
from insource.engines.local import LocalModel
from insource.errors import Invalid
from insource.nouns import JsonObject, Message, Request
from mask_walk import Walker
from pace import within

TEXTS = [
    *("", "a", "b", "ab", "aab", "abab", "a/b", "PO-123456", "PO-12345", "PO-1234567", "xPO-123456", "2026-11-26", "$"),
    *("3.5", "3,5", "-12", "+49 711 123", "é", "a\nb", "a b", '"a"', "a|b", "{a}", "[a]", "\\", "x" * 40, "🛠"),
]
HONOURED = [
    *(r"PO-\d{6}", r"^PO-\d{6}$", "a|ab", "^a|b$", "(a|b)*", "(?:ab){0,2}", r"\d{4}-\d{2}-\d{2}", r"-?\d+([.,]\d+)?"),
    *(
        r"[^\n]*",
        r"[\s\S]*",
        ".*",
        r"\$",
        r"\\",
        "a/b",
        r"a\|b",
        r"\{a\}",
        r"\[a\]",
        '"a"',
        "[a-c]+",
        r"\+?[\d\s]{5,20}",
    ),
    *("é", "🛠", "x{40}", "a*?", r"\w+", r"\W"),
]
REFUSED = [
    *("(a", "[z-a]", "*", "a{2,1}", "(?=a)b", "(?<!a)b", r"(a)\1", r"\bword\b", r"^\p{Nope}$", "x" * 2_001, "a{1500}"),
    *(r"((a{1,50}){1,50}){1,50}", r"(\p{L}{1,500}){1,500}", "(?:a{1000}){1000}"),
]


@pytest.mark.parametrize("pattern", HONOURED)
def test_what_the_regex_matches_whole_is_let_through_and_nothing_else(pattern: str, vocabulary: Vocabulary) -> None:
    mask = GrammarMask(vocabulary, for_regex(pattern))
    whole: JsonObject = {"pattern": f"^(?:{pattern})$"}
    for text in TEXTS:
        assert mask.takes(vocabulary.tokens.tokenize_str(text)) == (not faults(whole, text)), repr(text)
    walker = Walker(vocabulary, 2, closing=0.5, seed=3, limit=1_500)
    said = [walker.say(mask.start()) for _ in range(5)]
    assert not any(text is not None and faults(whole, text) for text in said)
    assert any(text is not None for text in said)


@pytest.mark.parametrize("pattern", REFUSED, ids=lambda pattern: pattern[:24])
def test_what_cannot_be_honoured_is_refused_at_once(pattern: str) -> None:
    start = time.process_time()
    with pytest.raises(Invalid) as raised:
        for_regex(pattern)
    assert raised.value.hint
    assert (str(raised.value)[:9], raised.value.at) == ("the regex", "regex")
    assert within(time.process_time() - start, 1.0)


def test_where_the_regex_sets_no_end_we_do(vocabulary: Vocabulary) -> None:
    mask = GrammarMask(vocabulary, for_regex("(a|b)*"))
    assert mask.takes(vocabulary.tokens.tokenize_str("a" * 1_000))
    assert not mask.takes(vocabulary.tokens.tokenize_str("a" * 1_001))


@pytest.mark.parametrize(
    "form",
    [
        *({"type": "regex"}, {"type": "regex", "regex": 5}, {"type": "choice", "choice": "ab"}, {"type": "poem"}, {}),
        *({"type": "choice", "choice": []}, {"type": "choice", "choice": ["a", 5]}, {"type": "choice", "choice": [""]}),
        *({"type": "choice", "choice": [str(i) for i in range(50_000)]}, {"type": "choice", "choice": ["a" * 2**20]}),
        *({"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": []}}),
    ],
)
def test_a_form_that_is_none_is_refused(form: JsonObject) -> None:
    with pytest.raises(Invalid):
        for_form(form)


def test_free_text_has_no_grammar() -> None:
    assert for_form({"type": "text"}) is None


async def test_an_engine_answers_by_regex_and_by_choice(tiny: LocalModel) -> None:
    def call(form: JsonObject, **more: int) -> Request:
        turns = (Message(role="user", content="Say something."),)
        return Request(id="r", messages=turns, response_format=form, temperature=1.0, **more)

    engine = BaseModel(tiny, name="tiny")
    pattern, labels = r"PO-\d{6}( [a-z]{2,8})?", ["low", "low risk", "high"]
    try:
        asked = [call({"type": "regex", "regex": pattern}, seed=i) for i in range(4)]
        asked += [call({"type": "choice", "choice": labels}, seed=i) for i in range(4)]
        said = await asyncio.gather(*map(engine.complete, asked))
        assert [each.finish for each in said] == ["stop"] * 8
        assert not any(faults({"pattern": f"^(?:{pattern})$"}, each.text) for each in said[:4])
        assert {each.text for each in said[4:]} <= set(labels)
        short = await engine.complete(call({"type": "regex", "regex": "[a-z]{40}"}, max_tokens=3))
        assert short.finish != "stop"
        with pytest.raises(Invalid, match="regex"):
            await engine.complete(call({"type": "regex", "regex": "(?=a)b"}))
    finally:
        await engine.close()
