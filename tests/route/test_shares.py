"""Gateways that share limits: whatever is late, lost or dead, all together never admit more than there is."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from replica_world import World

from insource.nouns import Limits
from insource.nouns.share import Part, Stake
from insource.route.shares import divided, filled

LIMITS = Limits(requests_per_minute=8, tokens_per_minute=120, concurrent=4, usd_per_day=1.0)
USD = st.integers(0, 16).map(lambda n: n / 64)


@given(
    capacity=st.integers(0, 200),
    wants=st.lists(st.integers(0, 120), min_size=1, max_size=6),
)
def test_filling_is_fair_and_leaves_nothing_that_is_wanted(capacity, wants):
    found = filled(capacity, wants, [0] * len(wants))
    assert sum(found) == min(capacity, sum(wants))
    assert all(0 <= got <= want for got, want in zip(found, wants, strict=True))
    poorest = [got for got, want in zip(found, wants, strict=True) if got < want]
    assert not poorest or max(found) <= min(poorest) + 1, "who has more than another that wants more"


@given(data=st.data(), most=st.integers(1, 100), count=st.integers(1, 5))
def test_shares_given_one_after_another_are_never_more_than_the_limit(data, most, count):
    limits, stakes = Limits(requests_per_minute=most), {}
    for _ in range(8):
        name = data.draw(st.sampled_from(range(count)))
        share = stakes[name].parts["requests_per_minute"].share if name in stakes else 0
        keeps = data.draw(st.integers(0, share))
        part = Part(share=keeps, used=data.draw(st.integers(0, keeps)), want=data.draw(st.integers(0, 150)))
        others = {str(one): stake for one, stake in stakes.items() if one != name}
        asked = Stake(parts={"requests_per_minute": part})
        stakes[name] = divided(limits, asked, others, {}, list(others))
        assert stakes[name].parts["requests_per_minute"].share >= keeps, "what is held to is not taken away"
        assert sum(stake.parts["requests_per_minute"].share for stake in stakes.values()) <= most


class Replicas(RuleBasedStateMachine):
    """Calls, turns that are lost on either way, crashes, clocks that step over midnight and back."""

    @initialize()
    def begin(self):
        self.world = World(LIMITS)
        for _ in range(3):
            self.world.start()

    @rule(who=st.integers(0, 2), tokens=st.integers(0, 60), usd=USD)
    def call(self, who, tokens, usd):
        self.world.call(self.gateway(who), tokens, usd)

    @precondition(lambda self: any(not call.ended for call in self.world.calls))
    @rule(data=st.data(), share=st.sampled_from([0.0, 0.5, 1.0]), written=st.booleans())
    def end(self, data, share, written):
        self.world.end(data.draw(st.sampled_from([one for one in self.world.calls if not one.ended])), share, written)

    @rule(who=st.integers(0, 2), lost=st.sampled_from(["", "", "before", "after"]))
    def turn(self, who, lost):
        gateway = self.gateway(who)
        gateway.lost = lost
        self.world.turn(gateway)

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0, 29.0, 61.0, 125.0, 200.0, 600.0]))
    def pass_by(self, seconds):
        self.world.t += seconds

    @rule(who=st.integers(0, 2), seconds=st.sampled_from([-86_400.0, -600.0, -5.0, 5.0, 600.0]))
    def step(self, who, seconds):
        self.gateway(who).ahead_s = seconds

    @rule(who=st.integers(0, 2), again=st.booleans())
    def crash(self, who, again):
        if len(self.world.gateways) > 1:
            self.world.crash(self.gateway(who))
        if again or len(self.world.gateways) < 2:
            self.world.start()

    @rule()
    def interrupt(self):
        self.world.interrupt()

    @invariant()
    def nothing_is_above_its_limit(self):
        if hasattr(self, "world"):
            assert self.world.above() == []

    def gateway(self, who):
        return self.world.gateways[who % len(self.world.gateways)]

    def teardown(self):
        if hasattr(self, "world"):
            self.world.close()


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_key_that_was_made_again_with_lower_limits_is_held_to_them_by_every_gateway():
    world = World(Limits(requests_per_minute=60))
    one, other = world.start(), world.start()
    for gateway in (one, other):
        assert world.call(gateway, 1, 0.0)
    world.t += 61  # no turn is taken meanwhile: the shares of the old limits are still there
    world.limits = Limits(requests_per_minute=6, usd_per_day=0.5)
    for _ in range(20):
        for gateway in (one, other):
            world.call(gateway, 1, 1 / 16)
            assert world.above() == []
    assert 3 <= len(world.calls) <= 2 + 6
    world.close()


def test_limits_that_were_raised_or_left_out_hold_at_once_and_what_was_used_still_counts():
    world = World(Limits(requests_per_minute=4))
    gateway = world.start()
    assert sum(world.call(gateway, 1, 0.0) is not None for _ in range(6)) == 4
    world.limits = Limits(requests_per_minute=7)
    assert sum(world.call(gateway, 1, 0.0) is not None for _ in range(6)) == 3
    world.limits = Limits(usd_per_day=1.0)
    assert sum(world.call(gateway, 1, 1 / 4) is not None for _ in range(6)) == 4
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "control"])
def test_a_race_from_three_is_never_above_and_without_shares_it_is(shared):
    world, dice, above = World(LIMITS, shared=shared), random.Random(6), 0  # noqa: S311 - the same race each time
    gateways = [world.start() for _ in range(3)]
    for _ in range(1500):
        gateway = dice.choice(gateways)
        call = world.call(gateway, dice.randrange(40), dice.randrange(4) / 512)
        if call is not None and dice.random() < 0.8:
            world.end(call, dice.choice([0.5, 1.0]), written=True)
        world.t += dice.choice([0.0, 0.1, 2.0])
        if dice.random() < 0.3:
            world.turn(dice.choice(gateways))
        for late in [one for one in world.calls if not one.ended and dice.random() < 0.2]:
            world.end(late, 1.0, written=True)
        above += bool(world.above())
    admitted = len(world.calls)
    world.close()
    assert world.refused > 100, "the limits were reached"
    if shared:
        assert above == 0
        assert admitted > 0.5 * world.t / 60 * 8, "what there is is used, nearly all"
    else:
        assert above > 100
