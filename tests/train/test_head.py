"""The head's coordinates change nothing but the way to the answer, and it begins at something better than chance."""

import pytest

torch = pytest.importorskip("torch")

from insource.train.head import Head  # noqa: E402 - torch may be missing

LABELS, HIDDEN, EACH = 5, 24, 40


def states(spread: float = 1.0):
    """Clusters far from the origin that differ along a few small directions, as hidden states do."""
    torch.manual_seed(0)
    centres = torch.randn(LABELS, HIDDEN) * spread
    noise = torch.randn(LABELS * EACH, HIDDEN) * torch.logspace(0.5, -1.5, HIDDEN)
    targets = torch.arange(LABELS).repeat_interleave(EACH)
    return centres[targets] + noise + 40.0, targets


def test_the_rows_in_the_vocabulary_give_the_logits_that_were_trained():
    hidden, targets = states()
    head = Head(hidden, targets.tolist(), LABELS)
    assert head.rows.shape == (LABELS, HIDDEN)
    torch.testing.assert_close(hidden @ head.rows.T, head.logits(hidden).detach(), rtol=1e-4, atol=1e-3)


def test_in_its_coordinates_the_common_mean_is_short_and_the_rest_has_unit_variance():
    hidden, _ = states()
    seen = hidden @ Head(hidden, [0] * len(hidden), 2).projection
    assert float(hidden.mean(0).norm()) > 100
    assert float(seen.mean(0).norm()) == pytest.approx(1.0, abs=0.2)
    assert float((seen - seen.mean(0)).square().mean().sqrt()) == pytest.approx(1.0, abs=0.1)


def test_it_begins_at_what_the_states_already_tell():
    hidden, targets = states()
    right = (Head(hidden, targets.tolist(), LABELS).logits(hidden).argmax(1) == targets).float().mean()
    assert float(right) > 0.9


def test_a_label_without_a_row_and_states_that_do_not_differ_are_no_accident():
    hidden, targets = states()
    head = Head(hidden, targets.tolist(), LABELS + 1)
    assert float(head.rows[LABELS].norm()) == 0.0
    same = Head(torch.ones(4, HIDDEN), [0, 1, 0, 1], 2)
    assert torch.isfinite(same.rows).all()
