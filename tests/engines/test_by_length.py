"""Which rows are read together: all of them once, and with no more padding than another pass costs."""

import math

import pytest

from insource.engines.readout import TOKENS_PER_BATCH, by_length


@pytest.mark.parametrize("padding", [0, 32, 256, math.inf])
def test_batches_hold_every_row_once_and_little_padding(padding):
    lengths = [5, 60, 7, 300, 3000] * 40
    found = by_length(lengths, padding=padding)
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    for batch in found:
        own, padded = sum(lengths[i] for i in batch), len(batch) * max(lengths[i] for i in batch)
        assert len(batch) == 1 or padded <= TOKENS_PER_BATCH
        assert padded - own <= padding
    assert len(found) <= len(by_length(lengths, padding=padding / 2))


def test_short_texts_do_not_take_as_long_as_the_long_one_they_came_with():
    lengths = [10, 59, 12, 14, 11, 18, 15]
    assert by_length(lengths, padding=16) == [[0, 4, 2, 3, 6], [5], [1]]
    assert by_length(lengths, padding=32) == [[0, 4, 2, 3, 6, 5], [1]]
    assert by_length(lengths, padding=math.inf) == [[0, 4, 2, 3, 6, 5, 1]]
    assert by_length([10, 12], padding=32) == [[0, 1]], "another pass would take longer than two tokens do"
