"""The estimates of memory against what two real models take, in a process of their own."""

import json
import subprocess
import sys

import pytest

from insource.engines.catalogue import listed
from insource.engines.models import find
from insource.price.sizing import FORMATS, Load, cache, memory, weights
from insource.settings import cache_folder

pytestmark = pytest.mark.slow
CONTEXT = 2048
WITHIN, PIECES = 0.05, 16e6  # freed pieces of what a step computed stay with the process
MEASURE = """
import ctypes, gc, json, sys
import torch, transformers

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

folder, context = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
tiny = {"hidden_size": 64, "intermediate_size": 64, "vocab_size": 2000}
small = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, **tiny)
warm = transformers.AutoModelForCausalLM.from_config(small, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
with torch.inference_mode():  # the code itself, and what the first products take for good
    warm(input_ids=torch.randint(10, 1000, (1, 512)), past_key_values=transformers.DynamicCache(config=small))
del warm
start = resident()
model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.bfloat16, local_files_only=True, use_safetensors=True, attn_implementation="sdpa"
).eval()
for value in model.parameters():
    value.data = value.data.clone()  # off the mapped file, so that every byte is counted once
loaded = resident()
kept = transformers.DynamicCache(config=config)
with torch.inference_mode():
    for at in range(0, context, 512):
        ids = torch.randint(10, 1000, (1, min(512, context - at)))
        model.model(input_ids=ids, past_key_values=kept, use_cache=True)
        del ids
filled = resident()
tensors = sum(layer.keys.nbytes + layer.values.nbytes for layer in kept.layers)
print(json.dumps({"start": start, "weights": loaded - start, "cache": filled - loaded, "tensors": tensors,
                  "parameters": sum(value.nbytes for value in model.parameters()), "peak": peak() - start}))
"""


@pytest.fixture(scope="module", params=["smollm2-135m", "gemma3-270m"])
def measured(request):
    """The name, and bytes: resident for weights and cache, of the tensors themselves, and the peak of the run."""
    pytest.importorskip("transformers")
    local = find(request.param, cache_folder())
    if local is None:
        pytest.skip(f"not on this disk: insource models pull {request.param}")
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, str(local.folder), str(CONTEXT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(request.param, found)
    return request.param, found


def test_weights_take_the_memory_that_was_estimated(measured):
    name, found = measured
    expected = weights(listed()[name].shape, FORMATS["bf16"])
    assert found["parameters"] == expected
    assert found["weights"] == pytest.approx(expected, rel=WITHIN)


def test_keys_and_values_take_the_memory_that_was_estimated(measured):
    """Exactly, but for the last token of a window, which is not kept; resident within 16 MB."""
    name, found = measured
    shape = listed()[name].shape
    expected = cache(shape, Load(context=CONTEXT))
    last = sum(one.layers * one.numbers * 2 for one in shape.attention if one.window)
    assert found["tensors"] == expected - last
    assert found["cache"] == pytest.approx(expected, rel=WITHIN, abs=PIECES)


def test_the_peak_stays_below_the_whole_estimate(measured):
    name, found = measured
    assert found["peak"] < memory(listed()[name].shape, FORMATS["bf16"], Load(context=CONTEXT)).total
