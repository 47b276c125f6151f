"""The trained model for a server that knows nothing of us: what it says reads as the answer.

Each label gets a token of its own behind the vocabulary, and that token's text is the label; of several outputs the
texts are pieces of the task's JSON (`{"category":"heat",` then `"urgency":"high"}`), so an answer is as many tokens as
there are outputs. A label that is a token already keeps it. Every other row of the head is the mean of the first
output's label rows: a mean is never above the greatest, so of one output the likeliest next token is a label also where
the server does not constrain it. Of several, a schema keeps their order, and the rows of each later output are moved
together until their mean is the same one: what stands between its labels stays, and no token that is the beginning of
a label's text is likelier than the label. The chat template is the template of training
around the last message.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insource.engines.artefact import Manifest, OutputHead
from insource.engines.readout import INPUT
from insource.errors import EngineDown, Invalid

TOKENIZER, CONFIG, WEIGHTS = "tokenizer.json", "config.json", "model.safetensors"


def write_text_form(model: Path, manifest: Manifest, out: Path) -> tuple[OutputHead, ...]:
    """Writes config, tokenizer, chat template and weights into `out`, an empty folder; the heads with their new tokens.

    Raises `EngineDown` without torch, `Invalid` for a tokenizer in which a text cannot be made a token, OSError.
    """
    try:
        import torch
        from safetensors.torch import load_file, save_file
    except ModuleNotFoundError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[train]'") from error
    tokenizer = json.loads((model / TOKENIZER).read_text("utf-8"))
    config = json.loads((model / CONFIG).read_text("utf-8"))
    state = load_file(model / WEIGHTS)
    embeddings = next(name for name in state if name.endswith("embed_tokens.weight"))
    size = len(state["lm_head.weight"])
    heads, new = _new_tokens(manifest.heads, tokenizer, size)
    old = torch.tensor([token for head in manifest.heads for token in head.tokens])
    to = torch.tensor([token for head in heads for token in head.tokens])
    rows, inputs = _level(state["lm_head.weight"][old], heads), state[embeddings][old]
    first = rows[: len(heads[0].labels)].float().mean(0).to(rows.dtype)
    head_of = first.expand(size + new, -1).clone()
    grown = torch.cat([state[embeddings], state[embeddings][:1].expand(new, -1)])
    head_of[to] = rows
    appended = to >= size
    grown[to[appended]] = inputs[appended]
    save_file(state | {"lm_head.weight": head_of, embeddings: grown}, out / WEIGHTS, metadata={"format": "pt"})
    _write(out / TOKENIZER, tokenizer)
    _write(out / CONFIG, config | {"vocab_size": size + new})
    _write(out / "generation_config.json", {"eos_token_id": config.get("eos_token_id"), "max_new_tokens": len(heads)})
    _write(out / "tokenizer_config.json", _tokenizer_config(model))
    (out / "chat_template.jinja").write_text(chat_template(manifest.template), "utf-8")
    return heads


def _level(rows: Any, heads: Sequence[OutputHead]) -> Any:
    """The label rows of all outputs, those of each later one moved to the mean of the first's."""
    import torch

    parts = [part.float() for part in rows.split([len(head.tokens) for head in heads])]
    moved = [part + (parts[0].mean(0) - part.mean(0)) for part in parts[1:]]
    return torch.cat([parts[0], *moved]).to(rows.dtype)


def chat_template(template: str) -> str:
    """`template` as a chat template that puts the last message in its place and writes nothing else."""
    before, _, cue = template.partition(INPUT)
    return f"{{{{ {json.dumps(before)} + messages[-1]['content'] + {json.dumps(cue)} }}}}"


def pieces(heads: Sequence[OutputHead]) -> list[list[str]]:
    """For each output the text of each of its labels: the bare label of a single one, else pieces of compact JSON."""
    if len(heads) == 1:
        return [list(heads[0].labels)]
    last = len(heads) - 1
    found = []
    for i, head in enumerate(heads):
        key = json.dumps(head.name, ensure_ascii=False)
        begin, end = "{" if i == 0 else "", "}" if i == last else ","
        found.append([f"{begin}{key}:{json.dumps(label, ensure_ascii=False)}{end}" for label in head.labels])
    return found


def _new_tokens(
    heads: Sequence[OutputHead], tokenizer: dict[str, Any], size: int
) -> tuple[tuple[OutputHead, ...], int]:
    """The heads with the tokens whose text is the label, added to `tokenizer` from id `size` on; and how many."""
    vocabulary = tokenizer["model"].get("vocab")
    spelled = _alphabet(tokenizer)
    if tokenizer["model"].get("type") != "BPE" or not isinstance(vocabulary, dict) or spelled is None:
        raise Invalid("labels cannot be made tokens of this kind of tokenizer", hint="serve the release with insource")
    given = {entry["content"] for entry in tokenizer.get("added_tokens", [])}
    new, made = 0, []
    for head, texts in zip(heads, pieces(heads), strict=True):
        tokens = []
        for text in texts:
            piece = spelled(text)
            if text in given:
                raise Invalid(f"the label {text!r} is a control token of the model", hint="call it something else")
            if piece not in vocabulary:
                vocabulary[piece], new = size + new, new + 1
            tokens.append(vocabulary[piece])
        made.append(OutputHead(name=head.name, labels=head.labels, tokens=tuple(tokens), temperature=head.temperature))
    return tuple(made), new


def _alphabet(tokenizer: dict[str, Any]) -> Any:
    """How this tokenizer spells a text in its vocabulary; None when that is not known."""
    decoder = tokenizer.get("decoder") or {}
    kinds = {decoder.get("type"), *[step.get("type") for step in decoder.get("decoders", [])]}
    if "ByteLevel" in kinds:
        letters = _byte_letters()
        return lambda text: "".join(letters[byte] for byte in text.encode("utf-8"))
    replaced = next((step for step in decoder.get("decoders", []) if step.get("type") == "Replace"), None)
    return (lambda text: text.replace(" ", replaced["pattern"]["String"])) if replaced else None


def _byte_letters() -> dict[int, str]:
    """The letter each byte is in a byte-level vocabulary (GPT-2): itself where it prints, else one from U+0100 on."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printing]
    return {byte: chr(byte) for byte in printing} | {byte: chr(0x100 + i) for i, byte in enumerate(rest)}


def _tokenizer_config(model: Path) -> dict[str, Any]:
    path = model / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return {key: value for key, value in config.items() if key != "chat_template"}


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
