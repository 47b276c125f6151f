"""Is this file what it says it is? Strict checks of foreign model files, in Python, before any library reads them.

A model is data. Formats that can carry code (pickle and what wraps it) are refused by name and by their first bytes;
GGUF and safetensors headers must be sound: every count, size and offset within the file, in integers that cannot
overflow. Nothing here looks at the weights themselves.

Sources: the GGUF specification (ggml/docs/gguf.md) and the safetensors format description.
"""

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from insource.errors import Invalid, Refused
from insource.nouns import JsonObject, Noun

PICKLED = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".keras", ".pb"}
MAGICS = {b"PK\x03\x04": "a zip archive", b"7z\xbc\xaf": "a 7z archive", b"\x1f\x8b": "a gzip file"}
PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(dp", b"(lp", b"ccopy_reg", b"c__builtin__")
SAFE_INSTEAD = "use the model's .safetensors or .gguf file; these formats hold data only"

# name, weights per block, bytes per block, by GGML type number
GGML = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40)}
GGML |= {10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)}
GGML |= {16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82)}
GGML |= {23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2)}
GGML |= {34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18)}
FIXED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
MOST_KEYS, MOST_TENSORS, MOST_ITEMS, MOST_HEADER = 4096, 65_536, 1 << 22, 1 << 28
SAFE_TYPES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
SAFE_TYPES |= {"I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}
LARGEST_SAFE_HEADER = 1 << 25
LARGEST_TEXT, LARGEST_VOCABULARY = 32_000_000, 128_000_000
VOCABULARIES = {"tokenizer.json", "vocab.json", "merges.txt"}


class Header(Noun, frozen=True, kw_only=True):
    """What a weights file says of itself: its format, architecture ("" for safetensors), tensors and weights."""

    format: str
    architecture: str
    tensors: int
    weights: int


def refuse_code(path: Path) -> None:
    """Raises `Refused` when the file's name or first bytes are those of a format that can run code."""
    if path.suffix.lower() in PICKLED:
        raise Refused(f"{path.name}: {path.suffix} files can run code when loaded", hint=SAFE_INSTEAD)
    with path.open("rb") as file:
        first = file.read(16)
    if first.startswith(PICKLE_PROTOCOLS):
        raise Refused(f"{path.name} is a pickle, which can run code when loaded", hint=SAFE_INSTEAD)
    for magic, words in MAGICS.items():
        if first.startswith(magic):
            raise Refused(f"{path.name} is {words}, not model weights", hint=SAFE_INSTEAD)


def check_weights(path: Path) -> Header:
    """The header of a .gguf or .safetensors file. Raises `Refused` on anything unsound or of another kind."""
    refuse_code(path)
    readers: dict[str, Callable[[BinaryIO, int], Header]] = {".gguf": _gguf, ".safetensors": _safetensors}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise Refused(f"{path.name} is neither .gguf nor .safetensors", hint=SAFE_INSTEAD)
    with path.open("rb") as file:
        try:
            return read(file, path.stat().st_size)
        except (Refused, struct.error, UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
            hint = "the file is damaged or made to do harm: fetch it again from where it was published"
            raise Refused(f"{path}: not a sound {path.suffix[1:]} file: {error}", hint=hint) from error


def check_size(name: str, size: int) -> None:
    """Raises `Refused` for a file beside the weights that is larger than any such file of an honest model."""
    most = LARGEST_VOCABULARY if name in VOCABULARIES else LARGEST_TEXT
    if size > most:
        raise Refused(f"{name} has {size:,} bytes, {most:,} are allowed", hint="it is no file of an honest model")


def check_text(path: Path) -> None:
    """Raises `Invalid` when a file beside the weights (.json, .jinja, .txt) is not what its name says."""
    check_size(path.name, path.stat().st_size)
    try:
        text = path.read_bytes().decode("utf-8")
        if path.suffix == ".json":
            msgspec.json.decode(text)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise Invalid(f"{path} is not a readable {path.suffix[1:]} file: {error}") from error


class _Cursor:
    """Reads little-endian values; nothing beyond the file's end or the header's largest size."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size, self.at = file, size, 0
        self._items = 0

    def take(self, count: int) -> bytes:
        if count > self.size - self.at or self.at + count > MOST_HEADER:
            raise Refused(f"at byte {self.at}: {count} bytes promised, {self.size - self.at} are left")
        data = self._file.read(count)
        if len(data) != count:
            raise Refused(f"at byte {self.at}: the file ends early")
        self.at += count
        return data

    def number(self, code: str) -> int:
        return int(struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0])

    def count(self, most: int, what: str) -> int:
        found = self.number("Q")
        if found > most:
            raise Refused(f"at byte {self.at - 8}: {found} {what}, more than the {most} allowed")
        return found

    def items(self) -> int:
        """The length of an array; all of a file's arrays together are bounded, for each item costs time."""
        found = self.count(MOST_ITEMS, "items")
        self._items += found
        if self._items > MOST_ITEMS:
            raise Refused(f"at byte {self.at - 8}: {self._items} items in all, more than the {MOST_ITEMS} allowed")
        return found

    def string(self, most: int) -> str:
        return self.take(self.count(most, "bytes of text")).decode("utf-8")

    def skip_string(self) -> None:
        self.take(self.count(1 << 24, "bytes of text"))


def _gguf(file: BinaryIO, size: int) -> Header:
    cursor = _Cursor(file, size)
    if cursor.take(4) != b"GGUF":
        raise Refused("it does not start with GGUF")
    version = cursor.number("I")
    if version not in (2, 3):
        raise Refused(f"version {version} is not 2 or 3")
    tensors = cursor.count(MOST_TENSORS, "tensors")
    keys = _keys(cursor, cursor.count(MOST_KEYS, "keys"))
    alignment = keys.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 8 or alignment > 1 << 16 or alignment % 8:
        raise Refused(f"alignment {alignment!r}")
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise Refused("it does not say general.architecture")
    weights = _tensors(cursor, tensors, alignment)
    return Header(format="gguf", architecture=architecture, tensors=tensors, weights=weights)


def _keys(cursor: _Cursor, count: int) -> dict[str, str | int | None]:
    """The key-value section: texts and whole numbers are kept, everything else is stepped over."""
    found: dict[str, str | int | None] = {}
    for _ in range(count):
        key = cursor.string(65_535)
        if key in found:
            raise Refused(f"key {key!r} is given twice")
        found[key] = _value(cursor, cursor.number("I"), 0)
    return found


def _value(cursor: _Cursor, kind: int, depth: int) -> str | int | None:
    if kind == STRING:
        return cursor.string(1 << 24)
    if kind == ARRAY:
        _step_over_array(cursor, depth)
        return None
    code = FIXED.get(kind)
    if code is None:
        raise Refused(f"at byte {cursor.at}: value type {kind} is unknown")
    if code in "fd?":
        cursor.take(struct.calcsize("<" + code))
        return None
    return cursor.number(code)


def _step_over_array(cursor: _Cursor, depth: int) -> None:
    kind, count = cursor.number("I"), cursor.items()
    if kind in FIXED:
        cursor.take(count * struct.calcsize("<" + FIXED[kind]))
    elif kind == STRING:
        for _ in range(count):
            cursor.skip_string()
    elif kind == ARRAY and depth < 1 and count <= 4096:
        for _ in range(count):
            _step_over_array(cursor, depth + 1)
    else:
        raise Refused(f"at byte {cursor.at}: an array of type {kind}, {count} items, {depth + 1} deep")


def _tensors(cursor: _Cursor, count: int, alignment: int) -> int:
    """Checks every tensor's shape, type and place; returns the number of weights."""
    names: set[str] = set()
    spans: list[tuple[int, int, str]] = []
    weights = 0
    for _ in range(count):
        name = cursor.string(256)
        shape = _shape(cursor, name)
        block, width = GGML.get(cursor.number("I"), (0, 0))
        offset = cursor.number("Q")
        if name in names or not block or shape[0] % block or offset % alignment:
            raise Refused(f"tensor {name!r} is given twice, of unknown type, or out of step")
        names.add(name)
        elements = math.prod(shape)
        weights += elements
        spans.append((offset, offset + elements // block * width, name))
    start = -(-cursor.at // alignment) * alignment
    reached = 0
    for begin, end, name in sorted(spans):
        if begin < reached or start + end > cursor.size:
            raise Refused(f"tensor {name!r} lies over another or beyond the file's end")
        reached = end
    return weights


def _shape(cursor: _Cursor, name: str) -> list[int]:
    dimensions = cursor.number("I")
    if not 1 <= dimensions <= 4:
        raise Refused(f"tensor {name!r} has {dimensions} dimensions")
    shape = [cursor.number("Q") for _ in range(dimensions)]
    if min(shape) < 1 or math.prod(shape) > 1 << 44:
        raise Refused(f"tensor {name!r} has the shape {shape}")
    return shape


class _Span(Noun, frozen=True, kw_only=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def _safetensors(file: BinaryIO, size: int) -> Header:
    length = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
    if not 2 <= length <= min(LARGEST_SAFE_HEADER, size - 8):
        raise Refused(f"a header of {length} bytes in a file of {size}")
    spans = _spans(file.read(length))
    reached = 0
    for name, span in sorted(spans.items(), key=lambda item: item[1].data_offsets):
        begin, end = span.data_offsets
        width = SAFE_TYPES.get(span.dtype)
        if width is None or len(span.shape) > 8 or any(side < 0 for side in span.shape):
            raise Refused(f"tensor {name!r} has type {span.dtype} and shape {span.shape}")
        if begin != reached or end - begin != math.prod(span.shape) * width:
            raise Refused(f"tensor {name!r} does not lie where its size says")
        reached = end
    if reached != size - 8 - length:
        raise Refused(f"{size - 8 - length} bytes of weights, {reached} described")
    weights = sum(math.prod(span.shape) for span in spans.values())
    return Header(format="safetensors", architecture="", tensors=len(spans), weights=weights)


def _spans(raw: bytes) -> dict[str, _Span]:
    """The tensors that a safetensors header describes, by name."""
    if not raw.startswith(b"{"):
        raise Refused("the header is no JSON object")
    table = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    if "__metadata__" in table:
        msgspec.json.decode(table.pop("__metadata__"), type=dict[str, str])
    spans = {name: msgspec.json.decode(entry, type=_Span) for name, entry in table.items()}
    if raw.count(b'"data_offsets"') != len(spans):  # readers differ on which of two entries of a name they take
        raise Refused("a tensor is given twice, or written so that readers may differ")
    return spans


def read_json(path: Path) -> JsonObject:
    """The JSON object in a file. Raises `Invalid` when it is none."""
    try:
        check_size(path.name, path.stat().st_size)
        return msgspec.json.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"{path} is no JSON object: {error}") from error
