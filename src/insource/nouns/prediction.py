"""What an engine said, with how sure it is."""

from typing import Literal

from msgspec import UNSET, UnsetType

from insource.nouns.base import JsonObject, Noun

Finish = Literal["stop", "length", "refusal", "invalid"]


class Usage(Noun, frozen=True, kw_only=True, gc=False):
    """Tokens in and out. `cut` counts input tokens left out because the input exceeded the model's window."""

    input_tokens: int = 0
    output_tokens: int = 0
    cut: int = 0


class CallPiece(Noun, frozen=True, kw_only=True):
    """A piece of a call of a function, as it comes in a stream: of the call at `index`, counted from 0.

    What it holds is joined to what came of that call before; `id` comes once, with the first piece or later.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Prediction(Noun, frozen=True, kw_only=True, gc=False):
    """One answer of one engine.

    `value` maps each field of the task to its value, None when the output is invalid. `confidence` is the
    probability (0 to 1) that the whole value is right, `fields` the same per field, None where the engine cannot
    say. `places` says for each field of an extraction where its value stands in the input, as characters
    [start, stop): null where it does not stand there literally, one place per item for a list.
    `novelty` says how strange the input is to the engine, on a scale of the engine's own on which more is stranger; it
    is left out where the engine cannot say.
    `alternatives` lists the likeliest labels per output, most likely first. `latency_ms` is wall time inside
    the engine, queueing included. `finish` "length" is never a valid answer to a schema. `served` is what a server
    says that it is, its model and a fingerprint; a record does not have it, for a stranger may write anything there.
    `terms` counts, of the call's input and whoever answers, its words, those that no training row has, and rare ones.
    """

    text: str
    value: JsonObject | None = None
    tool_calls: tuple[JsonObject, ...] = ()
    engine: str
    confidence: float | None = None
    fields: dict[str, float] = {}
    places: JsonObject = {}
    alternatives: dict[str, tuple[tuple[str, float], ...]] = {}
    usage: Usage = Usage()
    latency_ms: float = 0.0
    finish: Finish = "stop"
    served: str | UnsetType = UNSET
    terms: tuple[int, int, int] | UnsetType = UNSET
    novelty: float | UnsetType = UNSET
