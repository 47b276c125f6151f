"""What a language model is made of, as far as its memory and speed depend on it."""

from insource.nouns.base import Noun


class Attention(Noun, frozen=True, kw_only=True):
    """Layers that remember a text in the same way. `window` is how many tokens back they look, 0 = all.

    Per token and layer they keep a key and a value of `kv_heads` * `head_dim` numbers, or `kept` numbers where that is
    not so (latent attention). Layers without keys and values (linear attention) keep `state` bytes a text, at any
    length. Layers that use the memory of others are not counted.
    """

    layers: int
    kv_heads: int = 0
    head_dim: int = 0
    window: int = 0
    kept: int = 0
    state: int = 0

    @property
    def numbers(self) -> int:
        """How many numbers one layer keeps of one token."""
        return self.kept or 2 * self.kv_heads * self.head_dim


class Shape(Noun, frozen=True, kw_only=True):
    """Sizes of a causal language model; `kind` is its model_type in config.json.

    `parameters` counts the text model, once where input and output table are one (`tied`); `vision` what reads images
    beside it. Of a mixture `active` parameters work on a token: `chosen` of `experts`, and all that is shared. `inner`
    is the width within a layer's feed-forward part (of one expert in a mixture). `context` is in tokens.
    """

    kind: str
    parameters: int
    layers: int
    hidden: int
    heads: int
    inner: int
    vocabulary: int
    context: int
    attention: tuple[Attention, ...]
    tied: bool = False
    vision: int = 0
    active: int = 0
    experts: int = 0
    chosen: int = 0

    @property
    def tables(self) -> int:
        """Parameters of the input and output table."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def working(self) -> int:
        """Parameters that work on one token."""
        return self.active or self.parameters

    def touched(self, texts: int) -> float:
        """Parameters that work on one token each of `texts` texts, on average: the more texts, the more experts."""
        if not self.experts:
            return self.parameters
        one = (self.parameters - self.active) / (self.experts - self.chosen)
        share = 1 - (1 - self.chosen / self.experts) ** texts
        return self.active + (self.experts * share - self.chosen) * one
