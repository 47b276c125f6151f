"""What becomes of a release on trial: on, hold or back, told from counts alone."""

import pytest
from msgspec.structs import replace

from insource.nouns import Release, Rollout
from insource.release.trial import Tally, against, rule, weighed

POLICY = Rollout()
MADE = Release(task="t", version="1.1.0", engine="linear", base="", dataset="", recipe="", artefact="", folder="")


def ruling(tally: Tally, *, days: float = 10.0, wanted: float = 7.0, policy: Rollout = POLICY):
    return rule(MADE, tally, policy, days, wanted)


ALIKE = Tally(calls=2000, here=2000, agreed=2000, failures={0: 2000}, speed={-1: 2000})


def test_one_that_always_agrees_goes_on_and_nobody_need_look():
    found = ruling(ALIKE)
    assert (found.verdict, found.missing) == ("on", ())
    assert all(check.passed for check in found.checks)


def test_it_waits_for_its_days_its_calls_and_for_proof_and_says_so():
    found = ruling(replace(ALIKE, calls=40, here=40, agreed=38, speed={-1: 40}), days=1.0)
    assert found.verdict == "hold"
    assert found.missing[0] == "6.0 days more"
    assert found.missing[1] == "160 calls more that both answer"
    assert "2 disagreements wait for a person" in found.missing[2]


def test_silence_never_promotes():
    found = ruling(replace(ALIKE, agreed=1900))
    assert found.verdict == "hold"
    assert "100 disagreements wait for a person" in found.why
    looked = replace(ALIKE, agreed=1900, judged=100, quality={-1: 60, 1: 20, 0: 20})
    assert ruling(looked).verdict == "on"


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({"quality": {1: 40, -1: 5}, "agreed": 1900, "judged": 45}, "is wrong oftener than what is live: 40 calls"),
        ({"failures": {1: 40, 0: 1960}}, "fails oftener than what is live: 40 calls in which ours alone failed"),
        ({"speed": {1: 1300, -1: 700}}, "is slower than what is live: 1,300 of 2,000 calls took more than 1.5 times"),
    ],
)
def test_what_is_worse_goes_back_whatever_the_days_and_says_in_what(worse, said):
    found = ruling(replace(ALIKE, **worse), days=0.0)
    assert found.verdict == "back"
    assert said in found.why


def test_what_is_better_is_never_sent_back():
    better = replace(ALIKE, agreed=1900, judged=100, quality={-1: 80, 1: 10, 0: 10}, failures={-1: 40, 0: 1960})
    assert weighed(against(better)) < 1
    assert ruling(better).verdict == "on"


def test_a_stricter_policy_wants_more_proof():
    some = replace(ALIKE, agreed=1990, judged=10, quality={1: 5, -1: 5})
    assert ruling(some).verdict == "on"
    assert ruling(some, policy=Rollout(max_worse=0.001)).verdict == "hold"
