"""How much memory a model takes, which cards hold it, and how fast they can be: arithmetic from its shape.

Memory is weights + keys and values of the texts in work + what a step needs on top. Time is the roofline of Williams,
Waterman and Patterson (2009): a step takes as long as its products or its reading of memory, whichever is longer.
Reading a prompt is bound by products, writing token by token by reading all weights that work. Every constant that is
not the model's or the card's is in `ASSUMED`, with what it stands for: a figure here is an estimate, never a
measurement.
"""

from insource.nouns import Noun, Shape
from insource.price.cards import PRODUCTS, READING, Card

GB = 1e9
AHEAD = 512  # tokens beyond its window for which llama.cpp has room in a layer with one: those it reads at once
CACHED = 2  # bytes of a kept key or value: 16 bits
STEP = 2048  # tokens of prompts read in one step
RUNTIME = 1e9  # bytes
USABLE = 0.9
TOGETHER = (1, 2, 4, 8)
TRAINED, ROWS = 16, 2048  # rank of an adapter, tokens of a training step

ASSUMED = (
    "keys and values are kept in 16 bits, each text at its full length; layers with a window keep only the window",
    f"of GGUF formats these layers keep {AHEAD} tokens more, as llama.cpp does",
    f"a step reads up to {STEP:,} tokens of prompts with their values in 16 bits, and writes each text's scores in 32",
    f"{RUNTIME / GB:g} GB for the runtime itself; {USABLE:.0%} of a card's memory may be filled",
    f"products at {PRODUCTS:.0%} of the card's peak, in 16 bits also of quantized weights",
    f"weights, keys and values are read at {READING:.0%} of the card's bandwidth",
    "several cards share weights, caches and products evenly, and talk at no cost: an upper bound of their speed",
    "no queue: the prompts do not wait for each other, and no prefix is shared between them",
)


class Format(Noun, frozen=True, kw_only=True):
    """How weights are stored: bits a weight in the layers, and in the tables of the vocabulary (scales included).

    `uneven` are the bits of both where the format's blocks of 256 do not divide the model's width. `ahead` are the
    tokens beyond its window that a layer with one has room for in the engine that serves the format.
    """

    name: str
    layers: float
    tables: float
    about: str
    uneven: tuple[float, float] = (0, 0)
    ahead: int = 0

    def bits(self, shape: Shape) -> tuple[float, float]:
        """Bits a weight in the layers and the tables of this model."""
        return self.uneven if self.uneven[0] and shape.hidden % 256 else (self.layers, self.tables)


FORMATS = {
    "bf16": Format(name="BF16 / FP16", layers=16, tables=16, about="as published"),
    "int8": Format(name="INT8", layers=8.02, tables=16, about="a scale a row; tables stay 16-bit"),
    "gptq4": Format(name="GPTQ / AWQ 4-bit", layers=4.16, tables=16, about="groups of 128; tables stay 16-bit"),
    "q8_0": Format(name="GGUF Q8_0", layers=8.5, tables=8.5, ahead=AHEAD, about="blocks of 32 with a 16-bit scale"),
    "q4_k_m": Format(
        name="GGUF Q4_K_M",
        layers=4.8,
        tables=6.56,
        uneven=(5.5, 8.5),
        ahead=AHEAD,
        about="4 and 6 bits mixed; tables 6-bit",
    ),
    "q4_0": Format(
        name="GGUF Q4_0",
        layers=4.5,
        tables=8.5,
        ahead=AHEAD,
        about="blocks of 32 with a 16-bit scale; tables 8-bit",
    ),
    "nf4": Format(name="NF4 (QLoRA)", layers=4.13, tables=16, about="bitsandbytes, scales quantized too"),
}


class Load(Noun, frozen=True, kw_only=True):
    """What is asked of a model: `concurrent` texts of `context` tokens at once, of which `answer` are written."""

    context: int
    concurrent: int = 1
    answer: int = 100

    @property
    def written(self) -> int:
        """Tokens of the answer; one token at least is read."""
        return min(self.answer, self.context - 1)

    @property
    def prompt(self) -> int:
        """Tokens read before the first is written."""
        return self.context - self.written


class Memory(Noun, frozen=True, kw_only=True):
    """Bytes by purpose."""

    weights: float
    cache: float
    step: float
    runtime: float = RUNTIME

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.cache + self.step + self.runtime

    def shared(self, cards: int) -> float:
        """Bytes on each of several cards."""
        return (self.weights + self.cache) / cards + self.step + self.runtime


class Speed(Noun, frozen=True, kw_only=True):
    """Estimates for one load on `cards` cards of a kind.

    `first_ms` to the first token of a text alone, `token_ms` between two tokens of one text while all are in work,
    `tokens_s` of all texts together, `requests_s` that can be answered without an end to the queue.
    """

    cards: int
    first_ms: float
    token_ms: float
    tokens_s: float
    requests_s: float


def weights(shape: Shape, form: Format) -> float:
    """Bytes of all weights; what reads images stays 16-bit."""
    layers, tables = form.bits(shape)
    return ((shape.parameters - shape.tables) * layers + shape.tables * tables) / 8 + shape.vision * 2


def cache(shape: Shape, load: Load, ahead: int = 0) -> float:
    """Bytes of keys and values, and of states, of all texts at their full length.

    A layer with a window has room for `ahead` tokens beyond it.
    """
    return load.concurrent * sum(
        one.layers
        * (one.numbers * CACHED * min(load.context, one.window + ahead if one.window else load.context) + one.state)
        for one in shape.attention
    )


def memory(shape: Shape, form: Format, load: Load) -> Memory:
    """Bytes in use at the height of the load."""
    tokens = min(STEP, load.prompt * load.concurrent)
    widest = max((shape.heads + 2 * one.kv_heads) * (one.head_dim or one.kept // 2) for one in shape.attention)
    working = shape.inner * max(1, shape.chosen)
    values = tokens * 2 * (4 * shape.hidden + widest + 2 * working)
    scores = load.concurrent * shape.vocabulary * 4
    return Memory(weights=weights(shape, form), cache=cache(shape, load, form.ahead), step=values + scores)


def fits(need: Memory, card: Card) -> int:
    """How many cards of the kind hold it together (1, 2, 4 or 8); 0 where eight do not."""
    return next((count for count in TOGETHER if need.shared(count) <= USABLE * card.gb * GB), 0)


def speed(shape: Shape, form: Format, load: Load, card: Card) -> Speed | None:
    """The estimates on as few cards as hold it; None where eight do not."""
    count = fits(memory(shape, form, load), card)
    if not count:
        return None
    products, reading = count * card.products_s, count * card.read_s
    prompt = _products(shape, load.prompt) / products
    first = max(prompt, _read(shape, form, load.prompt) / reading)
    middle = Load(context=load.context - load.written // 2, concurrent=load.concurrent)
    read = (_read(shape, form, load.concurrent) + cache(shape, middle)) / reading
    step = max(read, load.concurrent * 2 * shape.working / products)
    each = prompt + load.written * step / load.concurrent
    return Speed(
        cards=count,
        first_ms=first * 1e3,
        token_ms=step * 1e3,
        tokens_s=load.concurrent / step,
        requests_s=1 / each,
    )


def tuning(shape: Shape, form: Format) -> Memory:
    """Bytes to train an adapter of rank 16 over a base in `form`, in steps of 2,048 tokens.

    The adapter lies on every linear layer, of a mixture on the attention only. Intermediate values are computed again
    layer by layer (gradient checkpointing); the scores of the vocabulary are held in 32 bits, with their gradients.
    """
    attention = sum(one.layers * 2 * (shape.heads + one.kv_heads) * one.head_dim for one in shape.attention)
    feed = 0 if shape.experts else 3 * (shape.hidden + shape.inner)
    linear = attention + shape.layers * (4 * shape.hidden + feed)
    adapter = TRAINED * linear * 16  # weight, gradient and two moments in 32 bits
    kept = ROWS * shape.hidden * shape.layers * 2
    layer = ROWS * 2 * (8 * shape.hidden + 3 * shape.inner * max(1, shape.chosen))
    return Memory(weights=weights(shape, form), cache=adapter, step=kept + layer + ROWS * shape.vocabulary * 8)


def _read(shape: Shape, form: Format, texts: int) -> float:
    """Bytes of weights read to work on one token each of `texts` texts. Of the input table that is a few rows only."""
    layers, tables = form.bits(shape)
    return ((shape.touched(texts) - shape.tables) * layers + shape.vocabulary * shape.hidden * tables) / 8


def _products(shape: Shape, tokens: int) -> float:
    """Operations to read a prompt: two a working weight and token, the head once, and attention to what stands before.

    A token attends on average to half of the prompt, or to the window where that is less.
    """
    head = shape.vocabulary * shape.hidden
    body = shape.working - (head if shape.tied else 2 * head)
    looked = sum(
        one.layers * 4 * shape.heads * (one.head_dim or one.kept) * min(tokens / 2, one.window or tokens)
        for one in shape.attention
        if one.numbers
    )
    return tokens * (2 * body + looked) + 2 * head
