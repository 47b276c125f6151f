"""What every row begins with is computed once; states and gradients are those of whole rows."""

import pytest

torch = pytest.importorskip("torch")

from insource.engines.prefix import Prefix, pack  # noqa: E402

ROWS = [[5, 6, 7, 8, 9], [9, 8, 7, 3, 3]]


SIZES = {
    "vocab_size": 32, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def llama(attention="eager"):
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    return LlamaModel(LlamaConfig(**SIZES, attn_implementation=attention)).eval()


def gemma(attention="eager"):
    """Layers that see seven tokens, between ones that see all."""
    from transformers import Gemma3TextConfig, Gemma3TextModel

    torch.manual_seed(0)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    own = {"head_dim": 8, "sliding_window": 7, "layer_types": kinds, "query_pre_attn_scalar": 8}
    return Gemma3TextModel(Gemma3TextConfig(**SIZES, **own, attn_implementation=attention)).eval()


@pytest.fixture
def body():
    return llama()


def states_and_gradients(body, read):
    body.zero_grad()
    states = read()
    states[:, -1].square().sum().backward()
    return states.detach(), [p.grad.clone() for p in body.parameters()]


@pytest.mark.parametrize("make", [llama, gemma])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("way", ["read", "together"])
@pytest.mark.parametrize("before", [[], [4], [1, 2, 3, 4, 10, 11]])
def test_states_and_gradients_are_those_of_whole_rows(make, attention, way, before):
    body = make(attention)
    whole = torch.tensor([[*before, *row] for row in ROWS])
    states, gradients = states_and_gradients(
        body, lambda: body(input_ids=whole, use_cache=False).last_hidden_state[:, len(before) :]
    )
    pack(body)
    prefix, rows = Prefix(body, before), torch.tensor(ROWS)
    got, got_gradients = states_and_gradients(
        body, lambda: prefix.read(rows).last_hidden_state if way == "read" else prefix.together(rows)
    )
    torch.testing.assert_close(got, states, rtol=1e-4, atol=1e-5)
    for a, b in zip(got_gradients, gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=5e-4)


def test_the_states_are_kept_until_the_weights_change(body):
    prefix, rows = Prefix(body, [1, 2, 3]), torch.tensor(ROWS)
    with torch.inference_mode():
        first = prefix.read(rows).last_hidden_state
        torch.testing.assert_close(prefix.read(rows).last_hidden_state, first)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.mul_(1.5)
    with torch.inference_mode():
        stale = prefix.read(rows).last_hidden_state
        prefix.renew()
        fresh = prefix.read(rows).last_hidden_state
        whole = body(input_ids=torch.tensor([[1, 2, 3, *row] for row in ROWS])).last_hidden_state[:, 3:]
    torch.testing.assert_close(fresh, whole, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(stale, whole, rtol=1e-4, atol=1e-5)
