import numpy as np
import pytest

from insource import stats


def sides(random, change=lambda rows: rows, before=1000, now=300):
    def rows(n):
        size = random.lognormal(3, 0.5, n)
        return {"length": size, "kind": random.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]), "again": size * 2}

    return rows(before), change(rows(now))


def test_nothing_changed_is_seldom_called_a_change() -> None:
    random = np.random.default_rng(1)
    alarms = sum(min(s.p for s in stats.shifts(*sides(random), shuffles=199)) <= 0.05 for _ in range(200))
    assert 2 <= alarms <= 20  # 10 are to be expected, and 20 come in one run of five hundred


def test_what_changed_is_named_and_the_rest_is_not() -> None:
    def longer(rows):
        return rows | {"length": rows["length"] * 1.3, "again": rows["again"]}

    found = {s.feature: s for s in stats.shifts(*sides(np.random.default_rng(2), longer))}
    assert found["length"].p <= 0.005
    assert found["length"].distance > 0.15
    assert found["kind"].p > 0.05


def test_a_kind_that_grew_is_a_shift_and_so_is_one_that_is_new() -> None:
    random = np.random.default_rng(3)

    def other(rows):
        kinds = rows["kind"].astype("U9")
        kinds[:45] = "new"
        return rows | {"kind": kinds}

    found = {s.feature: s for s in stats.shifts(*sides(random, other))}
    assert found["kind"].p <= 0.005
    assert found["kind"].distance == pytest.approx(0.15, abs=0.06)


def test_features_that_say_the_same_cost_no_power_and_the_order_of_rows_is_nothing() -> None:
    one, other = sides(np.random.default_rng(4))
    turned = {name: values[::-1] for name, values in other.items()}
    assert [s.distance for s in stats.shifts(one, other)] == [s.distance for s in stats.shifts(one, turned)]
    first, _, last = stats.shifts(one, other)
    assert first.p == last.p


def test_very_many_kinds_and_missing_numbers_are_taken() -> None:
    random = np.random.default_rng(5)
    before = {
        "kind": random.integers(0, 3000, 2000).astype("U9"),
        "sure": np.where(random.random(2000) < 0.1, np.nan, 0.5),
    }
    now = {"kind": random.integers(0, 3000, 500).astype("U9"), "sure": np.full(500, np.nan)}
    found = {s.feature: s for s in stats.shifts(before, now, shuffles=199)}
    assert found["sure"].p <= 0.01
    assert found["sure"].distance == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize(("before", "now"), [({}, {}), ({"a": [1]}, {"b": [1]}), ({"a": [1]}, {"a": []})])
def test_sides_that_cannot_be_compared_are_an_error(before, now) -> None:
    with pytest.raises(ValueError, match=r"each|same"):
        stats.shifts(before, now)
