"""Small real model files made on the spot: a safetensors folder, a GGUF, wheels."""

import json
import struct
import zipfile


def safetensors(shape=(4, 8)):
    """A sound safetensors file of one bfloat16 tensor of zeros."""
    size = 2 * shape[0] * shape[1]
    header = json.dumps({"w": {"dtype": "BF16", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def model_files():
    """The files of a model's folder, as a hub repository has them."""
    return {
        "config.json": b'{"model_type": "llama", "vocab_size": 4}',
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b"{}",
        "model.safetensors": safetensors(),
    }


def folder(path, files=None):
    """Writes `files` (default: a whole model) to `path`."""
    path.mkdir(parents=True, exist_ok=True)
    for name, data in (files or model_files()).items():
        (path / name).write_bytes(data)
    return path


def text(value):
    return struct.pack("<Q", len(value)) + value


def gguf(*, keys=None, tensors=1, kind=0):
    """A sound GGUF of version 3 with float32 tensors of 8x4 zeros; `keys` are raw (key, type, value) entries."""
    keys = keys if keys is not None else [(b"general.architecture", 8, text(b"llama")), (b"a.list", 9, LIST)]
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, len(keys))
    for key, code, value in keys:
        head += text(key) + struct.pack("<I", code) + value
    for number in range(tensors):
        head += text(b"t%d" % number) + struct.pack("<IQQIQ", 2, 8, 4, kind, number * 128)
    return head + bytes(-len(head) % 32) + bytes(128 * tensors)


LIST = struct.pack("<IQ", 8, 2) + text(b"a") + text(b"bc")


def wheel(path, members):
    """A wheel with these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def learnable_gguf(path):
    """A GGUF that transformers can load: a llama of one layer with a byte-level tokenizer, random weights."""
    import gguf as library
    import numpy as np

    rng = np.random.default_rng(0)
    letters = [chr(c) for c in range(33, 127)] + ["Ġ", "Ċ"]
    tokens = ["<|end|>", *letters, "Ġt", "he"]
    wide, heads, inner, vocabulary = 32, 2, 64, len(tokens)
    writer = library.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(wide)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(wide // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (vocabulary - 1))
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    shapes = {"token_embd.weight": (vocabulary, wide), "output_norm.weight": (wide,), "blk.0.attn_norm.weight": (wide,)}
    shapes |= {f"blk.0.attn_{part}.weight": (wide, wide) for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_norm.weight": (wide,), "blk.0.ffn_down.weight": (wide, inner)}
    shapes |= {f"blk.0.ffn_{part}.weight": (inner, wide) for part in ("gate", "up")}
    for name, shape in shapes.items():
        writer.add_tensor(name, rng.normal(0, 0.1, size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def specialist(folder, task):
    """A release's folder for `task` around a very small llama with random weights: valid, and as good as a dice."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    from insource.engines.artefact import Manifest, OutputHead, file_digests, write_manifest

    torch.manual_seed(0)
    (folder / "model").mkdir(parents=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i + 1 for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    end, size = len(letters) + 1, len(letters) + 8
    sizes = {"vocab_size": size, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    config = LlamaConfig(
        **sizes, num_attention_heads=2, num_key_value_heads=1, eos_token_id=end, tie_word_embeddings=False
    )
    save_file(LlamaForCausalLM(config).state_dict(), folder / "model" / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder / "model")
    [output] = task.outputs
    head = OutputHead(
        name=output.name, labels=output.labels, tokens=tuple(range(end + 1, end + 1 + len(output.labels)))
    )
    about = {"engine": "torch", "task": task, "base": "dice", "base_digest": "0" * 64, "dataset": "d", "recipe": {}}
    about |= {"template": "Text: {input}\nlabel:"}
    write_manifest(folder, Manifest(**about, heads=(head,), files=file_digests(folder)))
    return folder
