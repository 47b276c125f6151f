"""Strict checks of foreign files: sound ones pass, every unsound one is refused, none ends in a crash."""

import random
import struct
import time
import zipfile

import model_files
import pytest

from insource.engines.sources_check import check_text, check_weights, read_json, refuse_code
from insource.errors import Invalid, Refused
from pace import within

ARCHITECTURE = (b"general.architecture", 8, model_files.text(b"llama"))
MANY = struct.pack("<IQ", 0, 1_000_000) + bytes(1_000_000)
PICKLES = [b"\x80\x02}q\x00.", b"\x80\x04\x95\x10\x00", b"(dp0\n.", b"cos\nsystem\n", b"ccopy_reg\n_reconstructor\n"]


def written(path, data):
    path.write_bytes(data)
    return path


def test_a_sound_gguf_tells_its_architecture_and_size(tmp_path):
    header = check_weights(written(tmp_path / "m.gguf", model_files.gguf(tensors=3)))
    assert (header.architecture, header.tensors, header.weights) == ("llama", 3, 96)


def test_a_sound_safetensors_file_tells_its_size(tmp_path):
    assert check_weights(written(tmp_path / "m.safetensors", model_files.safetensors((3, 5)))).weights == 15


@pytest.mark.parametrize("name", ["m.bin", "m.pt", "m.pth", "m.pkl", "m.ckpt", "M.PT"])
def test_formats_that_can_carry_code_are_refused_by_name(tmp_path, name):
    with pytest.raises(Refused, match="run code"):
        refuse_code(written(tmp_path / name, model_files.gguf()))


@pytest.mark.parametrize("data", PICKLES)
@pytest.mark.parametrize("name", ["m.gguf", "m.safetensors"])
def test_a_pickle_under_another_name_is_refused(tmp_path, name, data):
    with pytest.raises(Refused):
        check_weights(written(tmp_path / name, data + bytes(100)))


def test_a_zip_under_another_name_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x")
    with pytest.raises(Refused, match="zip"):
        check_weights(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 are left"),
        (b"GGML" + bytes(40), "does not start"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 0), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 63), "keys"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 62), "bytes of text"),
        (model_files.gguf(keys=[]), "general.architecture"),
        (model_files.gguf(keys=[ARCHITECTURE, ARCHITECTURE]), "twice"),
        (model_files.gguf(keys=[ARCHITECTURE, (b"x", 77, b"")]), "unknown"),
        (model_files.gguf(keys=[ARCHITECTURE, (b"x", 9, struct.pack("<IQ", 4, (1 << 62) + 1))]), "items"),
        (model_files.gguf(keys=[ARCHITECTURE, (b"x", 9, struct.pack("<IQ", 4, 1 << 20))]), "promised"),
        (model_files.gguf(keys=[ARCHITECTURE, (b"x", 9, struct.pack("<IQ", 9, 1) * 3)]), "deep"),
        (model_files.gguf(keys=[ARCHITECTURE, *((b"%d" % i, 9, MANY) for i in range(5))]), "items in all"),
        (model_files.gguf(keys=[ARCHITECTURE, (b"general.alignment", 4, struct.pack("<I", 0))]), "alignment"),
        (model_files.gguf(keys=[ARCHITECTURE, (b"general.alignment", 4, struct.pack("<I", 12))]), "alignment"),
        (model_files.gguf(kind=2), "out of step"),
        (model_files.gguf(kind=99), "unknown type"),
        (model_files.gguf(tensors=2)[:-1], "beyond"),
        (model_files.gguf().replace(struct.pack("<QQ", 8, 4), struct.pack("<QQ", 1 << 33, 1 << 33)), "shape"),
        (model_files.gguf().replace(struct.pack("<QQ", 8, 4), struct.pack("<QQ", 8, 0)), "shape"),
        (model_files.gguf(tensors=2).replace(struct.pack("<Q", 128), struct.pack("<Q", 96)), "over another"),
    ],
)
def test_an_unsound_gguf_is_refused_with_its_fault(tmp_path, data, words):
    with pytest.raises(Refused, match=words) as caught:
        check_weights(written(tmp_path / "m.gguf", data))
    assert caught.value.hint


def header(text, weights=0):
    return struct.pack("<Q", len(text)) + text + bytes(weights)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 1 << 60) + b"{}",
        header(b"[]"),
        header(b"{}", 3),
        header(b"{" * 40_000),
        header(b'{"a":' * 40_000),
        header(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}', 9),
        header(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}', 12),
        header(b'{"w":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}}', 8),
        header(b'{"w":{"dtype":"F32","shape":[-2,-1],"data_offsets":[0,8]}}', 8),
        header(b'{"w":{"dtype":"F32","shape":[1e400],"data_offsets":[0,8]}}', 8),
        header(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":5}', 8),
        header(b'{"__metadata__":{"a":1}}'),
        header(
            b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}',
            8,
        ),
        header(b'{"w":{"dtype":"F32","shape":[2],"data_\\u006fffsets":[0,8]}}', 8),
        header(b"\xff\xfe"),
    ],
)
def test_an_unsound_safetensors_file_is_refused(tmp_path, data):
    with pytest.raises(Refused):
        check_weights(written(tmp_path / "m.safetensors", data))


@pytest.mark.parametrize(
    ("name", "sound"), [("m.gguf", model_files.gguf(tensors=2)), ("m.safetensors", model_files.safetensors())]
)
def test_flipped_bits_and_cut_files_are_refused_or_harmless_and_never_crash(tmp_path, name, sound):
    """5,000 mutations a format: one to four bits flipped in the header, or the file cut."""
    dice = random.Random(7)  # noqa: S311 - seeded on purpose
    path, refused = tmp_path / name, 0
    head = len(sound) - 64
    path.write_bytes(sound)
    for _ in range(5000):
        data = bytearray(sound)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(head)] ^= 1 << dice.randrange(8)
        if dice.random() < 0.1:
            del data[dice.randrange(head) :]
        with path.open("r+b") as file:
            file.write(data)
            file.truncate()
        try:
            assert check_weights(path).tensors >= 0
        except Refused:
            refused += 1
    assert refused > 2500, "most flips hit something that is checked"


def test_files_beside_the_weights_must_be_what_their_names_say(tmp_path):
    with pytest.raises(Invalid):
        check_text(written(tmp_path / "config.json", b"\x80\x04\x95"))
    with pytest.raises(Invalid):
        check_text(written(tmp_path / "config.json", b"[" * 100_000))
    check_text(written(tmp_path / "config.json", b"{}"))


def test_a_name_may_hold_what_a_header_holds(tmp_path):
    name = b'{"\\"data_offsets\\"":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    assert check_weights(written(tmp_path / "m.safetensors", header(name, 8))).weights == 2


@pytest.mark.parametrize(("name", "size"), [("config.json", 40_000_000), ("tokenizer.json", 150_000_000)])
def test_a_file_beside_the_weights_that_is_far_too_large_is_not_read(tmp_path, name, size):
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(size)
    with pytest.raises(Refused, match="are allowed"):
        check_text(path)
    with pytest.raises(Refused, match="are allowed"):
        read_json(path)


@pytest.mark.slow
def test_headers_made_to_take_long_are_refused_in_seconds(tmp_path):
    """The most strings, keys and tensors that the limits let through."""
    start = time.process_time()
    strings = struct.pack("<IQ", 8, (1 << 22) - 10) + bytes(8 * ((1 << 22) - 10))
    with pytest.raises(Refused):
        check_weights(written(tmp_path / "m.gguf", model_files.gguf(keys=[(b"x", 9, strings)])))
    entries = b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(500_000))
    assert check_weights(written(tmp_path / "m.safetensors", header(b"{" + entries + b"}"))).weights == 0
    assert within(time.process_time() - start, 20)
