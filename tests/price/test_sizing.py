"""Memory and speed from a model's shape: what is known to be so, and what must hold for every model of the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.engines.catalogue import listed
from insource.engines.sources_check import GGML
from insource.nouns import Attention, Shape
from insource.price.cards import Card, cards
from insource.price.plan import needed, plan
from insource.price.sizing import FORMATS, GB, Format, Load, cache, fits, memory, speed, tuning, weights

SHAPES = {name: entry.shape for name, entry in listed().items()}
BF16, GPTQ = FORMATS["bf16"], FORMATS["gptq4"]
names = st.sampled_from(sorted(SHAPES))
forms = st.sampled_from(sorted(FORMATS))
loads = st.builds(Load, context=st.integers(1, 200_000), concurrent=st.integers(1, 256), answer=st.integers(0, 4_000))


def dense(billions):
    """A plain dense model of so many parameters, of the proportions of a Mistral."""
    attention = (Attention(layers=56, kv_heads=8, head_dim=128),)
    sizes = {"layers": 56, "hidden": 6144, "heads": 48, "inner": 16384, "vocabulary": 32768, "context": 32768}
    return Shape(kind="mistral", parameters=int(billions * 1e9), attention=attention, **sizes)


def test_22_billion_parameters_in_16_bits_are_44_gb_and_fit_a_card_of_80():
    need = memory(dense(22), BF16, Load(context=4096, concurrent=4))
    assert need.weights == pytest.approx(44e9)
    assert fits(need, cards()["h100"]) == 1
    assert fits(need, cards()["a100-80"]) == 1
    assert fits(need, cards()["l40s"]) == 2


def test_llama_4_scout_is_sized_by_all_of_its_109_billion_parameters_not_the_17_that_work():
    scout = SHAPES["llama4-scout"]
    assert scout.parameters + scout.vision == pytest.approx(109e9, rel=0.01)
    assert scout.active == pytest.approx(17e9, rel=0.02)
    load = Load(context=8192)
    assert weights(scout, BF16) > 215e9
    assert fits(memory(scout, BF16, load), cards()["h100"]) == 4
    assert fits(memory(scout, GPTQ, load), cards()["h100"]) == 1, "Meta says so too, of 4 bits"
    assert fits(memory(scout, FORMATS["int8"], load), cards()["h100"]) == 2


def test_the_table_has_the_sizes_that_articles_get_wrong():
    small = SHAPES["mistral-small-3.1"]
    assert small.parameters + small.vision == pytest.approx(24.0e9, rel=0.005)
    assert {name for name in SHAPES if name.startswith("gemma3-")} == {
        f"gemma3-{size}" for size in ("270m", "1b", "4b", "12b", "27b")
    }
    assert "A10G" in cards()["a10g"].name
    assert "g5.12xlarge holds four" in cards()["a10g"].name


@pytest.mark.parametrize(
    ("name", "bytes_a_token"),
    [("llama3.1-8b", 131_072), ("qwen2.5-7b", 57_344), ("phi-3-mini", 393_216), ("smollm2-135m", 23_040)],
)
def test_keys_and_values_of_one_token(name, bytes_a_token):
    """By hand: 2 * layers * heads of keys and values * their width * 2 bytes."""
    assert cache(SHAPES[name], Load(context=1)) == bytes_a_token


def test_layers_with_a_window_keep_the_window_and_states_keep_their_size():
    gemma, qwen = SHAPES["gemma3-27b"], SHAPES["qwen3.5-9b"]
    short, long = (cache(gemma, Load(context=n)) for n in (1024, 131_072))
    assert short == 1024 * 62 * 2 * 16 * 128 * 2
    assert long == (1024 * 52 + 131_072 * 10) * 2 * 16 * 128 * 2
    one, two = (cache(qwen, Load(context=n)) for n in (1000, 2000))
    assert two - one == 1000 * 8 * 2 * 4 * 256 * 2


@pytest.mark.parametrize(("context", "tokens"), [(256, 256), (1024, 1024), (8192, 1024)])
def test_llama_cpp_has_room_for_a_step_beyond_the_window(context, tokens):
    """Gemma 3 270M, window 512, 15 layers of 18: of each layer's key and value 256 numbers in 16 bits."""
    shape, load = SHAPES["gemma3-270m"], Load(context=context)
    kept = memory(shape, FORMATS["q8_0"], load).cache
    assert kept == 1024 * (3 * context + 15 * tokens)
    assert memory(shape, BF16, load).cache == 1024 * (3 * context + 15 * min(context, 512))
    assert all(form.ahead == 512 for name, form in FORMATS.items() if "GGUF" in form.name)


@pytest.mark.parametrize(
    ("name", "form", "tokenizer"),
    [
        ("smollm2-135m", Format(name="GGUF Q4_1", layers=5, tables=8.5, about=""), 1.9e6),
        ("gemma3-270m", FORMATS["q4_k_m"], 6e6),
    ],
)
def test_weights_are_as_large_as_the_files_that_we_have(name, form, tokenizer):
    """GGUF files hold their tokenizer too; Gemma's width of 640 is not divided by 256."""
    assert weights(SHAPES[name], form) + tokenizer == pytest.approx(listed()[name].bytes, rel=0.01)


def test_the_bits_of_a_gguf_format_are_those_of_its_blocks():
    """Weights and bytes per block, as the GGUF specification gives them (the checks of model files use them too)."""
    for name, kind in (("q8_0", 8), ("q4_0", 2)):
        count, size = GGML[kind]
        assert FORMATS[name].layers == size * 8 / count
    four, six = (GGML[kind][1] * 8 / GGML[kind][0] for kind in (12, 14))
    assert four < FORMATS["q4_k_m"].layers < six


def test_4_bit_weights_keep_their_tables_in_16():
    shape = SHAPES["qwen2.5-7b"]
    layers = shape.parameters - 2 * 152_064 * 3584
    assert weights(shape, GPTQ) == pytest.approx(layers * 4.16 / 8 + 2 * 152_064 * 3584 * 2)


@given(names, forms, loads)
def test_more_work_never_needs_less(name, form, load):
    shape, kind = SHAPES[name], FORMATS[form]
    need = memory(shape, kind, load)
    more = Load(context=load.context + 1000, concurrent=load.concurrent + 1, answer=load.answer)
    assert need.total > 0
    assert min(need.weights, need.cache, need.step) > 0
    assert memory(shape, kind, more).total > need.total
    assert need.shared(2) < need.total
    for card in cards().values():
        count = fits(need, card)
        assert count == 0 or need.shared(count) <= 0.9 * card.gb * GB
        assert count in (0, 1) or need.shared(count // 2) > 0.9 * card.gb * GB


@given(names, forms, loads)
def test_a_speed_is_never_above_what_the_card_can_read_or_multiply(name, form, load):
    shape, kind = SHAPES[name], FORMATS[form]
    for card in cards().values():
        found = speed(shape, kind, load, card)
        if found is None:
            continue
        least = min(shape.working, shape.parameters) - shape.tables
        assert found.token_ms >= least * min(kind.layers, kind.tables) / 8 / (found.cards * card.gb_s * GB) * 1e3
        assert found.tokens_s <= found.cards * card.tflops * 1e12 / (2 * shape.working) + 1e-6
        assert found.tokens_s == pytest.approx(load.concurrent / found.token_ms * 1e3)
        assert found.first_ms > 0
        assert found.requests_s > 0


def test_a_7b_on_an_h100_writes_as_fast_as_its_weights_are_read():
    found = speed(SHAPES["mistral-7b"], BF16, Load(context=1024), cards()["h100"])
    assert found.token_ms == pytest.approx(7.1e9 * 2 / (3.35e12 * 0.7) * 1e3, rel=0.05)
    assert found.first_ms == pytest.approx(924 * 2 * 7e9 / (989e12 * 0.5) * 1e3, rel=0.05)


def test_of_a_mixture_one_text_reads_the_experts_chosen_and_many_read_nearly_all():
    gemma = SHAPES["gemma4-26b-a4b"]
    assert gemma.touched(1) == gemma.active
    assert gemma.active < gemma.touched(8) < gemma.touched(64) < gemma.parameters
    assert gemma.touched(1000) == pytest.approx(gemma.parameters, rel=0.001)


def test_a_measured_machine_does_what_was_measured_and_a_makers_figure_is_cut():
    shape, load = SHAPES["smollm2-135m"], Load(context=512)
    said = {"name": "x", "gb": 24, "gb_s": 20, "tflops": 0.2, "source": "measured here"}
    theirs, ours = (speed(shape, BF16, load, Card(**said, measured=kind)) for kind in (False, True))
    assert theirs.first_ms == pytest.approx(2 * ours.first_ms)
    assert theirs.token_ms == pytest.approx(ours.token_ms / 0.7)


def test_a_rate_needs_as_many_replicas_as_one_queue_of_their_lanes_needs():
    found = plan(SHAPES["qwen2.5-7b"], Load(context=2048, concurrent=16))
    for rate, target in ((1.0, 10_000.0), (200.0, 10_000.0), (200.0, 1.0)):
        for card, need in needed(found, "bf16", rate, target).items():
            fast = found.formats["bf16"].cards[card]
            assert need.each == fast.cards
            if need.queue is None:
                assert target < 3 * 16e3 / fast.requests_s, "a text alone takes too long"
                continue
            assert target > 16e3 / fast.requests_s
            assert need.queue.replicas >= rate / fast.requests_s
            assert need.queue.p95_ms <= target
            assert need.queue.busy == pytest.approx(rate / fast.requests_s / need.queue.replicas)


def test_an_adapter_on_a_4_bit_base_needs_less_than_on_a_16_bit_one():
    small, large = (tuning(SHAPES["llama3.1-8b"], FORMATS[form]).total for form in ("nf4", "bf16"))
    assert small < large
    assert large < 24e9 * 0.9, "LoRA of an 8B fits a 24 GB card"
    assert tuning(SHAPES["mistral-small-3.1"], FORMATS["nf4"]).total < 24e9 * 0.9


def test_the_cards_have_sources_and_what_is_unverified_is_a_figure():
    for card in cards().values():
        assert card.source.startswith("https://")
        assert card.checked or card.unverified
        assert set(card.unverified) <= {"gb", "gb_s", "tflops"}
