"""Reading labels off a language model: each label of a closed set is one token of the vocabulary.

An extraction has no labels to read: after its cue the answer is written, by `engines.composer`.

The input is the text and a line that names the first output, the cue. There the model's next-token logits, kept to the
label tokens of the first output, are a softmax over its labels: an exact distribution from one forward pass. The chosen
label's token is appended and the next output is read there, so each output is conditioned on those before it. Training
and serving both read through this file.

Control tokens in a text are encoded as plain text: a document can never end itself.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from insource.engines.plain_text import PlainText
from insource.engines.prefix import Prefix
from insource.errors import EngineDown, Invalid
from insource.nouns import Task

TOKENS_PER_BATCH = 2048
PADDING = 256
PADDING_PLAIN = 32  # on AVX2 a pass of SmolLM2-135M takes 100 ms and 3.1 a token with one thread, 75 and 1.8 with two
EAGER_TOKENS = 512
INPUT = "{input}"
NAMED = 8
WINDOW = 4096
BF16_PRODUCTS = ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16")


class Encoder:
    """Text → token ids in its template, at most `max_tokens` in all; a longer text loses its middle, not its ends.

    `window` is how many tokens the model can see, `vocabulary` how many it knows. `tokenizer` is the folder's, where
    `load_tokenizer` has read it already. Raises `Invalid` where the template has no place for the text or nothing
    after it, or leaves no room for one.
    """

    def __init__(self, folder: Path, max_tokens: int, template: str, *, tokenizer: PlainText | None = None) -> None:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        end = config.get("eos_token_id")
        self.end: int = end[0] if isinstance(end, list) else end
        self.max_tokens = max_tokens
        text: dict[str, Any] = config if config.get("vocab_size") else config["text_config"]
        self.vocabulary: int = text["vocab_size"]
        self.window: int = text.get("max_position_embeddings") or WINDOW
        self._text = tokenizer or load_tokenizer(folder)
        before, place, cue = template.partition(INPUT)
        begun = self._text.tokenizer.encode(before).ids  # with the token a model of this kind begins with
        self.before = begun[:-1] if begun[-1:] == [self.end] else begun
        [self.cue] = self.plain([cue])
        if not place or not self.cue:
            raise Invalid(f"the template {template!r} has no {INPUT} with a cue after it", hint="train again")
        taken = len(self.before) + len(self.cue)
        if taken >= max_tokens:
            said = f"{template!r} is {taken} tokens without its text, of {max_tokens} that are read"
            raise Invalid(said, hint="a shorter name for the first output, or a larger max_tokens; then train again")

    @property
    def room(self) -> int:
        """How many tokens of a text are read."""
        return self.max_tokens - len(self.before) - len(self.cue)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """For each token of the text the characters [start, stop) it spells."""
        found: list[tuple[int, int]] = self._text.tokenizer.encode(printable(text), add_special_tokens=False).offsets
        return found

    def encode(self, texts: Sequence[str]) -> list[tuple[list[int], int]]:
        """For each text its ids and the cue's, to be read behind `before`; and how many tokens were cut."""
        room, rows = self.room, []
        for ids in self.plain([printable(text) for text in texts]):
            tail = room // 4
            kept = ids if len(ids) <= room else ids[: room - tail] + ids[len(ids) - tail :]
            rows.append(([*kept, *self.cue], len(ids) - len(kept)))
        return rows

    def plain(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text alone, uncut and without a cue."""
        return self._text.rows(texts)

    def spare_tokens(self, count: int, used: Iterable[int]) -> list[int]:
        """`count` ids, rarest first, that are no control tokens and not in `used`. Raises `Invalid` if too few."""
        taken = set(used) | set(self._text.tokenizer.get_added_tokens_decoder()) | {self.end, *self.before, *self.cue}
        top = min(self.vocabulary, self._text.tokenizer.get_vocab_size())
        spare = [token for token in range(top - 1, 255, -1) if token not in taken][:count]
        if len(spare) < count:
            raise Invalid(f"the base model's vocabulary has room for {len(spare)} labels, the task has {count}")
        return spare


def load_tokenizer(folder: Path) -> PlainText:
    """The tokenizer of a model's folder, which neither cuts nor pads and takes control tokens for text."""
    return PlainText((folder / "tokenizer.json").read_text("utf-8"))


def template_of(task: Task) -> str:
    """What stands around a text: a line that says what is asked, and after the text the cue, a line that asks for it.

    A language model goes on to something new at such a line. Of its frozen states on BANKING77 a linear probe (4,000
    rows to fit, 1,000 to check) is right for 71% with the cue alone, for 77% behind "Text: ", for 82% behind the first
    line; at the model's end token for 51% (1,500 rows to fit).
    """
    if task.kind == "extract":
        names = [field.replace("_", " ") for field in task.fields[:NAMED]]
        return f"Find {', '.join(names) or 'what is asked for'} in the text.\n{INPUT}\nJSON:"
    name = task.outputs[0].name.replace("_", " ")
    return f"Choose the {name} of the text.\n{INPUT}\n{name}:"


def printable(text: str) -> str:
    """The text with lone surrogates replaced, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def pick_device() -> str:
    """Where to compute: "cuda" if torch sees a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(device: str) -> Any:
    """bfloat16 where the processor has products of its own for it, else float32: the same each time on a machine."""
    import torch

    if device != "cpu":
        return torch.bfloat16
    able = _capabilities()
    return torch.bfloat16 if any(able.get(name) for name in BF16_PRODUCTS) else torch.float32


def has_avx512() -> bool:
    """Whether the processor has AVX-512; true for those that are not x86, and where torch cannot tell."""
    able = _capabilities()
    return bool(able.get("avx512_f", True)) or able.get("architecture") != "x86_64"


def _capabilities() -> dict[str, Any]:
    """What the processor can do, by name; empty with a torch older than 2.11, which cannot tell."""
    import torch

    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return found


def pick_attention(device: str, longest: int) -> str:
    """Plain products on a CPU up to `EAGER_TOKENS`, where the fused kernel spends more on its blocks; else "sdpa"."""
    return "eager" if device == "cpu" and longest <= EAGER_TOKENS else "sdpa"


def load_body(
    folder: Path, *, device: str, dtype: Any, threads: int = 0, longest: int = EAGER_TOKENS, weights: str = "full"
) -> Any:
    """The transformer without its vocabulary head, in `dtype` on `device`, not training, for rows of `longest` tokens.

    With `weights` "nf4" its linear layers are kept in 4 bits (`engines.nf4`).
    Raises `EngineDown` when torch or the files are missing, or what `weights` needs.
    """
    ready(threads)
    return _load("AutoModel", folder, (device, dtype), pick_attention(device, longest), weights)


def load_causal(
    folder: Path, *, device: str, dtype: Any, threads: int = 0, longest: int = EAGER_TOKENS, weights: str = "full"
) -> Any:
    """The same with its vocabulary head."""
    ready(threads)
    return _load("AutoModelForCausalLM", folder, (device, dtype), pick_attention(device, longest), weights)


def ready(threads: int) -> None:
    """Sets the threads of torch (0 leaves them) and quiets the libraries. Raises `EngineDown` without the libraries."""
    try:
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[train]'") from error
    if threads:
        torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _load(kind: str, folder: Path, where: tuple[str, Any], attention: str, weights: str) -> Any:
    import transformers

    from insource.engines.nf4 import NF4, loading, thinned

    device, dtype = where
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    options["attn_implementation"] = attention
    options |= loading(device, dtype) if weights == NF4 else {}
    try:
        model = getattr(transformers, kind).from_pretrained(folder, dtype=dtype, **options)
    except (OSError, ValueError, KeyError) as error:
        raise EngineDown(f"the model in {folder} cannot be loaded: {error}") from error
    model = thinned(model) if weights == NF4 else model.to(device)
    return model.eval().requires_grad_(requires_grad=False)


def pad(rows: Sequence[Sequence[int]], filler: int, device: str) -> tuple[Any, Any]:
    """Right-padded ids [B, T] and lengths [B]. Causal attention never looks right, so padding needs no mask."""
    import torch

    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), filler, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return ids.to(device), torch.tensor([len(row) for row in rows], device=device)


def by_length(lengths: Sequence[int], budget: int = TOKENS_PER_BATCH, padding: float = PADDING) -> list[list[int]]:
    """Row numbers in batches of like length, each at most `budget` tokens when padded (a long row goes alone).

    At most `padding` tokens of a batch are padding, which is work too: more than that, and another pass costs less.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    batches: list[list[int]] = []
    own = 0  # tokens of the last batch that are no padding
    for i in order:
        last = batches[-1] if batches else []
        padded = (len(last) + 1) * lengths[i]
        if last and padded <= budget and padded - own - lengths[i] <= padding:
            last.append(i)
            own += lengths[i]
        else:
            batches.append([i])
            own = lengths[i]
    return batches


def pick_padding(device: str) -> int:
    """Tokens that take about as long as another pass does: few on a processor that is soon busy with products."""
    return PADDING if device != "cpu" or has_avx512() else PADDING_PLAIN


class Reader:
    """Reads every output of rows that are already encoded.

    `rows` are label rows of the vocabulary head, one tensor [labels, hidden] per output in float32; `tokens` the ids
    those labels have in the vocabulary.
    """

    def __init__(self, prefix: Prefix, rows: Sequence[Any], tokens: Sequence[Sequence[int]], *, end: int) -> None:
        import torch

        self.prefix, self.rows, self.end = prefix, list(rows), end
        self.device = next(prefix.body.parameters()).device
        self.tokens = [torch.tensor(ids, device=self.device) for ids in tokens]
        self._padding = pick_padding(str(self.device))

    def logits(self, encoded: Sequence[Sequence[int]]) -> list[Any]:
        """Per output a float32 CPU tensor [rows, labels]; a later output follows the likeliest earlier label."""
        import torch

        results = [torch.empty(len(encoded), len(rows)) for rows in self.rows]
        with torch.inference_mode():
            for batch in by_length([len(row) for row in encoded], padding=self._padding):
                for output, logits in enumerate(self._batch([encoded[i] for i in batch])):
                    results[output][batch] = logits
        return results

    def _batch(self, encoded: Sequence[Sequence[int]]) -> list[Any]:
        import torch

        ids, lengths = pad(encoded, self.end, str(self.device))
        out = self.prefix.read(ids)
        at = torch.arange(len(encoded), device=self.device)
        hidden = out.last_hidden_state[at, lengths - 1]
        begun = len(self.prefix.ids)
        mask = torch.arange(-begun, ids.shape[1], device=self.device)[None] < lengths[:, None]
        found = []
        for output, rows in enumerate(self.rows):
            logits = hidden.float() @ rows.T
            found.append(logits.cpu())
            if output + 1 == len(self.rows):
                break
            chosen = self.tokens[output][logits.argmax(1)]
            mask = torch.cat([mask, mask.new_ones(len(encoded), 1)], 1)
            step = self.prefix.body(
                input_ids=chosen[:, None],
                past_key_values=out.past_key_values,
                attention_mask=mask.long(),
                position_ids=(begun + lengths + output)[:, None],
                use_cache=True,
            )
            hidden = step.last_hidden_state[:, -1]
        return found
