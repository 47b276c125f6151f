"""The queue against closed forms where there are some, and against queues that were run call by call."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.price.batches import Batches
from insource.price.queueing import Lanes, erlang_c, highest_rate, queue, replicas_for

KINDS = {
    0.0: lambda rng, n: np.full(n, 0.1),
    0.25: lambda rng, n: rng.gamma(4, 0.1 / 4, n),
    1.0: lambda rng, n: rng.exponential(0.1, n),
    4.0: lambda rng, n: np.exp(rng.normal(math.log(0.1) - math.log(5) / 2, math.sqrt(math.log(5)), n)),
}


def run(variation, lanes, rate, *, calls=150_000, seed=3):
    """The latencies of calls at `lanes` lanes, one queue in order of arrival: Kiefer and Wolfowitz, call by call."""
    rng = np.random.default_rng(seed)
    due = np.cumsum(rng.exponential(1 / rate, calls))
    served = KINDS[variation](rng, calls)
    free = [0.0] * lanes
    found = np.empty(calls)
    for i, (at, time) in enumerate(zip(due.tolist(), served.tolist(), strict=True)):
        end = max(at, heapq.heappop(free)) + time
        heapq.heappush(free, end)
        found[i] = end - at
    return found[calls // 10 :]


def test_the_chance_to_wait_is_erlangs():
    """Two lanes at one Erlang: 1/3. One lane: the load. By hand from the formula for five at four: 0.5541."""
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(5, 4.0) == pytest.approx(0.5541, abs=5e-5)
    assert erlang_c(3, 0.0) == 0.0


def test_one_lane_with_exponential_service_has_exponential_latencies():
    """M/M/1: the latency is exponential with mean 1 / (service rate - rate); the wait is the mean of Pollaczek's."""
    found = queue(Lanes(mean_s=0.1), 1, 8.0)
    assert found.busy == pytest.approx(0.8)
    assert found.p95_ms == pytest.approx(-math.log(0.05) * 500, rel=0.05)
    assert Lanes(mean_s=0.1).wait_s(1, 8.0) == pytest.approx(0.4)
    assert Lanes(mean_s=0.1, variation=0).wait_s(1, 8.0) == pytest.approx(0.2), "half where all take the same time"


@pytest.mark.parametrize("variation", KINDS)
@pytest.mark.parametrize("lanes", [1, 2, 8])
def test_the_rate_that_meets_a_target_is_that_of_a_queue_that_was_run(variation, lanes):
    """Within 15%: the target is three service times and a half, or for wild ones ten."""
    target = 350.0 if variation < 2 else 1_000.0
    said = highest_rate(Lanes(mean_s=0.1, variation=variation), lanes, target)
    low, high = said * 0.85, min(said * 1.15, lanes * 9.999)
    assert np.quantile(run(variation, lanes, low), 0.95) * 1e3 < target
    assert np.quantile(run(variation, lanes, high), 0.95) * 1e3 > target


@pytest.mark.parametrize(("lanes", "replicas"), [(1, 3), (4, 2)])
def test_lanes_of_several_replicas_are_one_queue(lanes, replicas):
    one = queue(Lanes(mean_s=0.1, lanes=lanes), replicas, 15.0)
    other = queue(Lanes(mean_s=0.1, lanes=1), lanes * replicas, 15.0)
    assert one.p95_ms == other.p95_ms


services = st.builds(Lanes, mean_s=st.floats(1e-3, 10), variation=st.floats(0, 9), lanes=st.integers(1, 16))


@given(services, st.floats(0.01, 500), st.floats(1.1, 50))
def test_replicas_are_the_fewest_that_hold_the_target(service, rate, times):
    target = service.mean_s * 1e3 * times
    found = replicas_for(service, rate, target)
    if found is None:
        assert highest_rate(service, 1, target) == 0.0 or rate / service.most > 1_000
        return
    assert found.p95_ms <= target * (1 + 1e-6)
    fewer = queue(service, found.replicas - 1, rate) if found.replicas > 1 else None
    assert fewer is None or fewer.p95_ms > target * (1 - 1e-6)


@given(services, st.integers(1, 20), st.floats(0.05, 0.98))
def test_more_calls_take_longer_and_more_replicas_shorter(service, replicas, busy):
    rate = busy * service.most * replicas
    here, more = queue(service, replicas, rate), queue(service, replicas + 1, rate)
    assert more.p95_ms <= here.p95_ms * (1 + 1e-9)
    assert here.p50_ms <= here.p95_ms <= here.p99_ms
    slower = queue(service, replicas, rate * 1.01)
    assert slower is None or slower.p95_ms >= here.p95_ms * (1 - 1e-9)


def run_batches(first, more, rate, *, calls=400_000, seed=5, some=(), variation=0.0):
    """The latencies where whoever is free takes all that waits, call by call."""
    spreads, luck = np.sqrt(np.log1p(variation / np.arange(1, 257))), np.random.default_rng(seed + 1).normal(size=calls)
    took = Batches(first_s=first, more_s=more, some=some).took(np.arange(257.0))
    due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, calls))
    found, at, i = [], 0.0, 0
    while i < calls:
        at = max(at, due[i])
        last = min(int(np.searchsorted(due, at, side="right")), i + 256)
        spread = spreads[last - i - 1]
        at += float(took[last - i] * math.exp(spread * luck[i] - spread**2 / 2))
        found.extend((at - due[i:last]).tolist())
        i = last
    return np.array(found[calls // 10 :])


@pytest.mark.slow
@pytest.mark.parametrize(("first", "more"), [(0.02, 0.01), (0.02, 0.002), (0.01, 0.0095)])
@pytest.mark.parametrize("busy", [0.1, 0.5, 0.8, 0.9])
def test_batches_take_as_long_as_batches_that_were_run(first, more, busy):
    """The chain is exact: what differs is the luck of the run, which grows with the load."""
    rate = busy / more
    said, ran = queue(Batches(first_s=first, more_s=more), 1, rate), run_batches(first, more, rate) * 1e3
    assert said.p50_ms == pytest.approx(np.quantile(ran, 0.5), rel=0.05)
    assert said.p95_ms == pytest.approx(np.quantile(ran, 0.95), rel=0.10)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [5.0, 20.0, 30.0, 40.0])
def test_batches_of_which_small_ones_are_dearer_take_as_long_as_those_that_were_run(rate):
    """As measured of a specialist: 4 at once took 93 ms, 16 at once 318, 64 at once 867."""
    some = ((4, 0.093), (16, 0.318), (64, 0.867))
    one = Batches(first_s=0.0366, more_s=(0.867 - 0.0366) / 63, some=some)
    said, ran = queue(one, 1, rate), run_batches(0.0366, one.more_s, rate, some=some) * 1e3
    assert said.p50_ms == pytest.approx(np.quantile(ran, 0.5), rel=0.05)
    assert said.p95_ms == pytest.approx(np.quantile(ran, 0.95), rel=0.10)
    straight = queue(Batches(first_s=0.0366, more_s=one.more_s), 1, rate)
    assert straight.p95_ms < said.p95_ms, "from 64 at once alone it would be too hopeful"


@pytest.mark.slow
@pytest.mark.parametrize("variation", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("rate", [5.0, 20.0, 40.0])
def test_batches_of_calls_that_differ_take_as_long_as_those_that_were_run(rate, variation):
    one = Batches(first_s=0.02, more_s=0.01, variation=variation)
    said, ran = queue(one, 1, rate), run_batches(0.02, 0.01, rate, variation=variation) * 1e3
    assert said.p50_ms == pytest.approx(np.quantile(ran, 0.5), rel=0.05)
    assert said.p95_ms == pytest.approx(np.quantile(ran, 0.95), rel=0.10)
    alike = queue(Batches(first_s=0.02, more_s=0.01), 1, rate)
    assert alike.p95_ms < said.p95_ms, "were they all alike it would be too hopeful"


def test_several_replicas_each_have_their_own_batches():
    one = Batches(first_s=0.02, more_s=0.01)
    assert queue(one, 3, 120.0).p95_ms == queue(one, 1, 40.0).p95_ms
    assert highest_rate(one, 2, 80.0) == pytest.approx(2 * highest_rate(one, 1, 80.0), rel=1e-3)
    found = replicas_for(one, 300.0, 80.0)
    assert found.replicas == math.ceil(300 / highest_rate(one, 1, 80.0))
    assert queue(one, 1, 100.5) is None
    assert replicas_for(one, 1.0, 19.0) is None, "a call alone takes longer"


def test_a_rate_without_an_end_to_its_queue_has_no_latency_and_no_target_below_the_service_time_is_met():
    service = Lanes(mean_s=0.1, variation=0)
    assert queue(service, 1, 10.0) is None
    assert highest_rate(service, 5, 99.0) == 0.0
    assert replicas_for(service, 1.0, 99.0) is None
    assert highest_rate(service, 1, 1e9) == pytest.approx(10.0)
