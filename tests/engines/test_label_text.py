"""An exported model says the label in plain text, also where the server knows nothing of us."""

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import test_train as trained
import tiny

from insource.engines.artefact import OutputHead, read_manifest
from insource.engines.gguf_write import write_gguf
from insource.engines.label_text import chat_template, pieces, write_text_form
from insource.engines.local import LocalModel
from insource.errors import Invalid

ONE = trained.ONE


@pytest.fixture(scope="module", params=["one output", "two outputs"])
def artefact(request, tmp_path_factory) -> Path:
    base = LocalModel(name="tiny", folder=tiny.build(tmp_path_factory.mktemp("base")), sha256="0" * 64)
    folder = tmp_path_factory.mktemp("artefact") / "a"
    trained.sealed(ONE if request.param == "one output" else trained.TWO, base, folder)
    return folder


@pytest.fixture(scope="module")
def made(artefact, tmp_path_factory) -> tuple[Path, tuple[OutputHead, ...]]:
    out = tmp_path_factory.mktemp("hf")
    return out, write_text_form(artefact / "model", read_manifest(artefact), out)


@pytest.fixture(scope="module")
def plain(made) -> Path:
    return made[0]


def said(folder: Path, texts: list[str], heads: tuple[OutputHead, ...]) -> list[str]:
    """What transformers reads out, greedy: of one output without any constraint, of several held to their order."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    found = []
    for text in texts:
        ids = tokenizer.apply_chat_template([{"role": "user", "content": text}], return_tensors="pt", return_dict=True)
        length = ids["input_ids"].shape[1]

        def allowed(_: int, seen: object, length: int = length) -> list[int]:
            return list(heads[len(seen) - length].tokens)

        held = {"prefix_allowed_tokens_fn": allowed} if len(heads) > 1 else {}
        out = model.generate(**ids, max_new_tokens=len(heads), do_sample=False, **held)
        found.append(tokenizer.decode(out[0, length:]))
    return found


def test_its_plain_text_is_the_answer_the_trainer_saw(artefact, made):
    plain, heads = made
    rows = [json.loads(line) for line in (artefact / "trainer.jsonl").read_bytes().splitlines()][:60]
    found = said(plain, [row["input"] for row in rows], heads)
    single = len(heads) == 1
    wanted = [row["value"]["category"] if single else json.dumps(row["value"], separators=(",", ":")) for row in rows]
    same = sum(a == b for a, b in zip(found, wanted, strict=True))
    assert same >= 0.98 * len(rows), list(zip(found, wanted, strict=True))[:5]


def test_no_other_token_is_likelier_than_every_label_of_an_output(artefact, made):
    """A schema lets the beginnings of a label's text through too; their rows are the mean of each output's labels."""
    import torch
    from safetensors.torch import load_file

    plain, heads = made
    before = load_file(artefact / "model" / "model.safetensors")["lm_head.weight"].float()
    head = load_file(plain / "model.safetensors")["lm_head.weight"].float()
    labels = {token for one in heads for token in one.tokens}
    [other] = head[[token for token in range(len(head)) if token not in labels]].unique(dim=0)
    for one, old in zip(heads, read_manifest(artefact).heads, strict=True):
        rows, trained_rows = head[list(one.tokens)], before[list(old.tokens)]
        torch.testing.assert_close(rows.mean(0), other, rtol=0.02, atol=2e-3)
        torch.testing.assert_close(rows - rows[:1], trained_rows - trained_rows[:1], rtol=0.02, atol=4e-3)


def test_the_prompt_is_the_one_of_training_to_the_token(artefact, plain):
    from transformers import AutoTokenizer

    from insource.engines.readout import Encoder

    manifest = read_manifest(artefact)
    encoder = Encoder(artefact / "model", manifest.max_tokens, manifest.template)
    tokenizer = AutoTokenizer.from_pretrained(plain)
    for text in ("oil leak at seal 3", "x", '"{{7}}', "Öl"):
        ours = [*encoder.before, *encoder.encode([text])[0][0]]
        whole = tokenizer.apply_chat_template([{"role": "user", "content": text}], return_dict=True)["input_ids"]
        assert list(whole) == ours


def test_a_gguf_of_it_has_the_same_logits(plain, tmp_path):
    """Read back by transformers, which undoes the exchange of rows that llama.cpp's order asks for."""
    import torch
    from transformers import AutoModelForCausalLM

    write_gguf(plain, tmp_path / "m.gguf", "f16", name="m")
    ids = torch.arange(40)[None] + 7
    with torch.inference_mode():
        one = AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32)(ids).logits
        other = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)(ids).logits
    torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)
    assert not torch.allclose(one, one.roll(1, 1), rtol=2e-2, atol=2e-2)


def test_labels_are_spelled_in_the_vocabulary_and_of_several_outputs_as_json():
    one = OutputHead(name="category", labels=("no heat", 'a "b"'))
    two = OutputHead(name="urgency", labels=("high",))
    assert pieces([one]) == [["no heat", 'a "b"']]
    first, second = pieces([one, two])
    assert json.loads(first[1] + second[0]) == {"category": 'a "b"', "urgency": "high"}


def test_a_text_is_only_ever_text_in_the_chat_template():
    import jinja2

    template = chat_template('Choose "x" {% of %}.\n{input}\nx:')
    rendered = jinja2.Environment(autoescape=False).from_string(template)  # noqa: S701 - a prompt, no page
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "{{ 7*7 }}"}]
    assert rendered.render(messages=messages) == 'Choose "x" {% of %}.\n{{ 7*7 }}\nx:'


def test_a_label_that_is_a_control_token_and_another_kind_of_model_are_refused(artefact, plain, tmp_path):
    import msgspec

    manifest = read_manifest(artefact)
    if len(manifest.heads) == 1:
        head = msgspec.structs.replace(manifest.heads[0], labels=("<|end|>", "leak", "noise"))
        with pytest.raises(Invalid, match="control token"):
            write_text_form(artefact / "model", msgspec.structs.replace(manifest, heads=(head,)), tmp_path)
    config = json.loads((plain / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gemma3_text"}))
    (tmp_path / "tokenizer.json").write_bytes((plain / "tokenizer.json").read_bytes())
    with pytest.raises(Invalid, match="not written as GGUF"):
        write_gguf(tmp_path, tmp_path / "m.gguf", "f16", name="m")
