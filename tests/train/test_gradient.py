"""A batch shared out among threads has the gradient of the whole batch, the same each time."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from insource.engines.local import LocalModel  # noqa: E402
from insource.nouns import Output, Task  # noqa: E402
from insource.train import gradient  # noqa: E402
from insource.train.course import Where  # noqa: E402
from insource.train.labels import Labelling  # noqa: E402
from insource.train.recipe import Recipe  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import tiny  # noqa: E402

TASK = Task(
    name="defects",
    kind="classify",
    outputs=(Output(name="category", labels=("heat", "leak", "noise")), Output(name="urgency", labels=("high", "low"))),
)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def made(tmp_path):
    """A model that has left its first place, where half of every adapter's gradient is zero; and its rows."""
    base = LocalModel(name="tiny", folder=tiny.build(tmp_path), sha256="0" * 64)
    splits = tiny.rows(TASK, 48, "train"), tiny.rows(TASK, 8, "dev")
    course = Labelling(TASK, splits, base, Recipe(rank=4))
    model = course.model(Where("cpu", torch.float32, 0))
    model.begin(0)
    with torch.no_grad():
        for adapted in model.adapters:
            adapted.b.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return model, course.data


def gradients(made, rows, monkeypatch, *, least=gradient.TOKENS_A_SHARE):
    monkeypatch.setattr(gradient, "TOKENS_A_SHARE", least)
    model, _ = made
    with gradient.Gradient(model) as of:
        loss = of.of(rows)
        shares = len(gradient._shares(rows, of.threads))
    return loss, [parameter.grad.clone() for parameter in model.parameters], shares


@pytest.mark.parametrize("count", [2, 3, 5, 48])
def test_shares_add_up_to_the_whole(made, threads, monkeypatch, count):
    rows = made[1].rows[:count]
    threads(1)
    loss, whole, shares = gradients(made, rows, monkeypatch)
    assert shares == 1
    threads(4)
    again, parts, shares = gradients(made, rows, monkeypatch, least=1)
    assert shares == min(4, count)
    assert torch.get_num_threads() == 4, "the process has its threads back"
    assert again == pytest.approx(loss, rel=1e-5)
    for part, one in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, one, rtol=1e-3, atol=1e-5)
        assert part.is_contiguous(), "the fused optimizer reads memory in order"
    assert all(float(one.abs().max()) > 0 for one in whole)


def test_the_same_batch_has_the_same_gradient_to_the_last_bit(made, threads, monkeypatch):
    threads(2)
    first = gradients(made, made[1].rows, monkeypatch)
    for _ in range(5):
        again = gradients(made, made[1].rows, monkeypatch)
        assert again[0] == first[0]
        assert all(torch.equal(one, other) for one, other in zip(first[1], again[1], strict=True))


def test_few_tokens_are_not_worth_a_thread(made, threads, monkeypatch):
    threads(4)
    assert gradients(made, made[1].rows[:4], monkeypatch)[2] == 1
