"""Tokenizers made to do harm are refused before a text of strangers meets them; real ones pass."""

import json

import pytest

from insource.engines.models import find
from insource.engines.tokenizer_check import check_tokenizer
from insource.errors import Invalid, Refused
from insource.settings import cache_folder

tokenizers = pytest.importorskip("tokenizers")
LETTERS = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@pytest.fixture
def tokenizer(tmp_path):
    """A function that writes a byte-level tokenizer with these parts changed."""

    def write(**parts):
        made = tokenizers.Tokenizer(tokenizers.models.BPE({letter: i for i, letter in enumerate(LETTERS)}, []))
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(json.loads(made.to_str()) | {"pre_tokenizer": BYTES} | parts))
        return path

    return write


def test_an_honest_tokenizer_passes(tokenizer):
    split = {"type": "Sequence", "pretokenizers": [{**SPLIT, "pattern": {"Regex": GPT2}}, BYTES]}
    check_tokenizer(tokenizer(pre_tokenizer=split))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m"])
def test_the_tokenizers_of_the_models_here_pass(name):
    local = find(name, cache_folder())
    if local is None:
        pytest.skip(f"not on this disk: insource models pull {name}")
    check_tokenizer(local.folder / "tokenizer.json")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)*!q", r"(\s*\n?\s*)*x", "(.*)*!"])
def test_a_pattern_that_runs_on_is_refused(tokenizer, pattern):
    with pytest.raises(Refused, match=r"had to be stopped|takes"):
        check_tokenizer(tokenizer(pre_tokenizer={**SPLIT, "pattern": {"Regex": pattern}}))


def replace(pattern, content):
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"normalizer": replace("a", "b" * 100_000)}, "replacement of 100,000 characters"),
        ({"normalizer": {"type": "Prepend", "prepend": "x" * 1000}}, "text put before of 1,000"),
        ({"normalizer": {"type": "Sequence", "normalizers": [replace("a", "b" * 20)]}}, "0,000 tokens for [25],000"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 99}}, "more than 64 parts"),
        ({"pre_tokenizer": {**SPLIT, "pattern": {"Regex": "a" * 10_000}}}, "pattern of 10"),
        ({"normalizer": {"type": "Python", "code": "import os"}}, "unknown kind 'Python'"),
        ({"decoder": {"type": "Sequence", "decoders": [{"type": "Odd"}]}}, "unknown kind 'Odd'"),
        ({"model": {"type": "Lua"}}, "unknown kind 'Lua'"),
        ({"normalizer": {"type": ["NFC"]}}, "unknown kind"),
        ({"normalizer": {"type": "Sequence", "normalizers": 5}}, "no list"),
    ],
)
def test_a_part_made_to_swell_or_unknown_is_refused(tokenizer, parts, words):
    with pytest.raises(Refused, match=words) as caught:
        check_tokenizer(tokenizer(**parts))
    assert caught.value.hint


def test_what_is_no_tokenizer_is_left_for_loading_to_tell(tmp_path, tokenizer):
    path = tmp_path / "odd.json"
    path.write_text('{"version": "1.0"}')
    check_tokenizer(path)
    check_tokenizer(tokenizer(added_tokens=5))
    path.write_text("[]")
    with pytest.raises(Invalid):
        check_tokenizer(path)
