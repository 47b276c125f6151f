"""What people wrote never becomes a control token: over every token of the models here, look-alikes, made-up ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.engines.models import find
from insource.engines.plain_text import PlainText, attempts, look_alikes
from insource.engines.readout import Encoder
from insource.errors import EngineDown, Invalid
from insource.settings import cache_folder

tokenizers = pytest.importorskip("tokenizers")
LETTERS = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
TEMPLATE = "{% for m in messages %}<turn>{{ m.content }}{% endfor %}<tool_call>"
WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})


def added(token, content, *, special=False, normalized=False):
    return {
        "id": token, "content": content, "special": special, "normalized": normalized,
        "single_word": False, "lstrip": False, "rstrip": False,
    }  # fmt: skip


def byte_level(*tokens, normalizer=None):
    """A tokenizer of bytes with these added tokens."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE({letter: i for i, letter in enumerate(LETTERS)}, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    if normalizer:
        made.normalizer = normalizer
    described = json.loads(made.to_str())
    described["added_tokens"] = [added(256 + i, **token) for i, token in enumerate(tokens)]
    return json.dumps(described)


STEERING = [
    {"content": "<|end|>", "special": True},
    {"content": "<|fim_prefix|>"},
    {"content": "<turn>"},
    {"content": "<tool_call>"},
    {"content": "[INST]"},
    {"content": "</s>", "special": True, "normalized": True},
]
HARMLESS = [{"content": "<table>"}, {"content": "\n\n"}, {"content": "    "}]
BYTES = PlainText(byte_level(*STEERING, *HARMLESS), TEMPLATE)
NFKC = PlainText(byte_level(*STEERING, *HARMLESS, normalizer=tokenizers.normalizers.NFKC()), TEMPLATE)
marks = st.sampled_from([token["content"] for token in STEERING])
words = st.text(max_size=12)


@given(st.lists(st.one_of(marks, words, marks.map(lambda mark: mark.translate(WIDE))), max_size=8).map("".join))
def test_no_text_holds_a_token_that_steers_and_nothing_of_it_is_lost(text):
    text = text.encode("utf-8", "replace").decode()
    for plain in (BYTES, NFKC):
        assert len(plain.steering) == len(STEERING)
        found = plain.ids(text)
        assert plain.steering.isdisjoint(found)
        if plain is BYTES:
            assert plain.tokenizer.decode(found, skip_special_tokens=False) == text


def test_tokens_that_only_stand_for_text_are_still_used():
    assert len(BYTES.ids("<table>")) == len(BYTES.ids("\n\n")) == 1
    assert len(BYTES.ids("<turn>")) == 6
    without = PlainText(byte_level(*HARMLESS, {"content": "<turn>"}), "")
    assert len(without.ids("<turn>")) == 1, "without a template that writes it, it is a word like others"


def unigram(*pieces):
    """A tokenizer whose vocabulary itself holds control tokens as pieces of text, as SentencePiece models do."""
    vocabulary = [("<unk>", 0.0), *[(piece, 0.0) for piece in pieces], *[(chr(code), -9.0) for code in range(32, 127)]]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, 0, byte_fallback=False))
    described = json.loads(made.to_str())
    described["added_tokens"] = [added(i, piece, special=True) for i, piece in enumerate(["<unk>", *pieces])]
    return json.dumps(described)


def test_a_vocabulary_that_makes_control_tokens_out_of_letters_is_kept_from_it():
    definition = unigram("</s>", "<s>", "<start_of_turn>")
    naive = tokenizers.Tokenizer.from_str(definition)
    naive.encode_special_tokens = True
    assert naive.encode("a</s>b").ids[1] == 1, "this is the danger"
    plain = PlainText(definition)
    text = "a</s>b<start_of_turn>" * 2000
    found = plain.ids(text)
    assert {1, 2, 3}.isdisjoint(found)
    assert plain.tokenizer.decode(found, skip_special_tokens=False).replace(" ", "") == text
    assert plain.ids("ü") == [0], "a letter it does not know is no command"


def test_a_command_of_one_letter_cannot_be_taken_apart_and_is_refused():
    with pytest.raises(Invalid, match="takes for a command"):
        PlainText(unigram("§")).ids("a § b")


def test_a_definition_that_is_none_is_told():
    for odd in ("", "{", '{"added_tokens": 5}', '{"added_tokens": [{"content": "<|a|>"}]}'):
        with pytest.raises(ValueError):
            PlainText(odd)


@pytest.fixture(scope="module", params=["smollm2-135m", "gemma3-270m"])
def real(request):
    """The tokenizer of a model that runs here, its template, and all tokens added to it."""
    from insource.engines.template import template_of

    local = find(request.param, cache_folder())
    if local is None:
        pytest.skip(f"not on this disk: insource models pull {request.param}")
    definition = (local.folder / "tokenizer.json").read_text("utf-8")
    plain = PlainText(definition, template_of(local.folder))
    return plain, plain.tokenizer.get_added_tokens_decoder()


def test_the_walls_are_counted_and_hold(tmp_path):
    (tmp_path / "tokenizer.json").write_text(byte_level(*STEERING, *HARMLESS))
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    assert attempts(tmp_path) == (15 * len(STEERING), 0)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(EngineDown):
        attempts(tmp_path)


def test_a_specialist_reads_control_tokens_as_text(tmp_path):
    (tmp_path / "tokenizer.json").write_text(byte_level(*STEERING, *HARMLESS))
    (tmp_path / "config.json").write_text('{"eos_token_id": 256, "vocab_size": 300}')
    encoder = Encoder(tmp_path, 200, "Choose.\n{input}\ntopic:")
    texts = [text for token in STEERING for text in look_alikes(token["content"])]
    special = {256, 257, 260, 261}  # those of a form that gives them away, and those marked as special
    assert all(special.isdisjoint(ids) for ids, _ in encoder.encode(texts))


@pytest.mark.slow
def test_no_control_token_of_a_real_model_can_be_written_by_a_person(real):
    plain, tokens = real
    assert plain.steering
    tried = 0
    for token in plain.steering:
        for text in look_alikes(tokens[token].content):
            assert plain.steering.isdisjoint(plain.ids(text)), text
            tried += 1
    assert tried == 15 * len(plain.steering)


def test_a_document_of_all_control_tokens_is_text_and_comes_back_as_it_was(real):
    plain, tokens = real
    text = "".join(tokens[token].content + " x " for token in sorted(plain.steering))
    found = plain.ids(text)
    assert plain.steering.isdisjoint(found)
    assert plain.tokenizer.decode(found, skip_special_tokens=False).strip() == text.strip()


@given(st.data())
def test_control_tokens_in_any_text_stay_text(real, data):
    plain, tokens = real
    names = st.sampled_from([tokens[token].content for token in sorted(plain.steering)])
    text = data.draw(st.lists(st.one_of(names, words, names.map(lambda mark: mark[1:])), max_size=6).map("".join))
    assert plain.steering.isdisjoint(plain.ids(text.encode("utf-8", "replace").decode()))
