"""Control tokens become neutral, and no document ends its own fence."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from insource.scan.control import controls, fence, fence_mark, instruction, neutral

CONTROL = controls()
TOKENS = ("<|im_end|>", "<|im_start|>", "[INST]", "[/INST]", "<<SYS>>", "<s>", "</s>", "<|eot_id|>", "<end_of_turn>",
          "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
          "<|start_header_id|>", "[TOOL_CALLS]", "<tool_call>", "<extra_id_7>")  # fmt: skip
TEXTS = some.lists(some.sampled_from([*TOKENS, "<", "|", ">", "[", " ", "a", "<|", "|>"]), max_size=12).map("".join)


@pytest.mark.parametrize("token", TOKENS)
def test_a_control_token_is_spelled_otherwise_and_stays_readable(token: str) -> None:
    said = neutral(f"a {token} b", CONTROL)
    assert token not in said
    assert said.replace(" ", "") == f"a{token}b".replace(" ", "")


@given(TEXTS)
def test_what_is_neutral_stays_so(text: str) -> None:
    once = neutral(text, CONTROL)
    assert neutral(once, CONTROL) == once
    assert not any(token in once for token in TOKENS)


@given(some.lists(some.text(), min_size=1, max_size=4), some.integers(0, 3))
def test_no_document_closes_its_fence_even_when_it_quotes_one(documents: list[str], quoted: int) -> None:
    documents = [
        *documents,
        fence(documents)[quoted % len(documents)],
        f"</document 1 {fence_mark(documents)}>".upper(),
    ]
    mark = fence_mark(documents)
    for number, (document, fenced) in enumerate(zip(documents, fence(documents), strict=True), 1):
        assert fenced == f"<document {number} {mark}>\n{document}\n</document {number} {mark}>"
        assert fenced.casefold().count(mark) == 2
    assert fence(documents) == fence(documents)
    assert mark in instruction(mark)
