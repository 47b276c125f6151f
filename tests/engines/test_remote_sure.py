"""How sure a server is of a label, from the log probabilities it gives."""

import math

import pytest
from talking import TASK, said_by

from insource.engines.scripted_server import Reply, Written
from insource.nouns import Output, Task, ask

THREE = Task(name="three", kind="classify", outputs=(Output(name="topic", labels=("billing", "delivery", "bids")),))
BOTH = Task(
    name="both",
    kind="classify",
    outputs=(Output(name="topic", labels=("billing", "delivery")), Output(name="mood", labels=("calm", "angry"))),
)


def chances(**shares):
    return {text: math.log(share) for text, share in shares.items()}


def sure_of(task, *tokens, kind="vllm"):
    said, _ = said_by(kind, [Reply(tokens=tokens)], ask(task, "x", id="1"))
    return said


def test_a_token_is_weighed_against_those_that_lead_to_other_labels():
    others = chances(bill=0.3, deliver=0.1, The=0.6)
    said = sure_of(TASK, Written(text="bill", logprob=math.log(0.3), others=others), Written(text="ing", logprob=-0.5))
    assert said.confidence == pytest.approx(0.75 * math.exp(-0.5))
    assert said.confidence == said.fields["topic"]
    certain = Written(text="ing", logprob=math.log(0.2), others=chances(ing=0.2, ard=0.8))
    said = sure_of(TASK, Written(text="bill", logprob=math.log(0.3), others=others), certain)
    assert said.confidence == pytest.approx(0.75), "only one label is left: the rest is forced"
    assert dict(said.alternatives["topic"]) == pytest.approx({"billing": 0.75, "delivery (late)": 0.25})


def test_several_ways_to_write_the_same_label_are_added():
    others = chances(bi=0.4, billing=0.1, b=0.1, deliver=0.4)
    said = sure_of(
        THREE,
        Written(text="bi", logprob=math.log(0.4), others=others),
        Written(text="lling", logprob=math.log(0.5), others=chances(lling=0.5, ds=0.5)),
    )
    assert said.confidence == pytest.approx(0.1 + 0.4 * 0.5)


def test_what_the_list_does_not_show_may_be_for_another_label():
    said = sure_of(TASK, Written(text="billing", logprob=math.log(0.5), others=chances(billing=0.5, The=0.3)))
    assert said.confidence == pytest.approx(0.5 / (0.5 + 0.2)), "the rest could all be for the other label"
    said = sure_of(TASK, Written(text="billing", logprob=math.log(0.5), others=chances(billing=0.5, The=0.1)))
    assert said.confidence == pytest.approx(0.5 / (0.5 + 0.1)), "but no token beyond the list is likelier than its last"


@pytest.mark.parametrize("start", ['{"', '{ "'])
def test_each_field_of_a_json_answer_has_its_own(start):
    tokens = [
        Written(text=f'{start}topic": "', logprob=-3.0),
        Written(text="bill", logprob=math.log(0.8), others=chances(bill=0.8, del_=0.1, deli=0.1)),
        Written(text='ing"', logprob=math.log(0.9), others={'ing"': math.log(0.9), "s": math.log(0.1)}),
        Written(text=', "mood": ', logprob=-1.0),
        Written(text='"calm', logprob=math.log(0.6), others={'"calm': math.log(0.6), '"an': math.log(0.4)}),
        Written(text='"}', logprob=-0.2, others={'"}': -0.2, ",": -2.0}),
    ]
    said = sure_of(BOTH, *tokens)
    assert said.fields == pytest.approx({"topic": 0.8 / 0.9, "mood": 0.6})
    assert said.confidence == pytest.approx(0.8 / 0.9 * 0.6)


def test_without_a_list_it_is_the_probability_of_the_words():
    tokens = (Written(text="bill", logprob=-0.1), Written(text="ing", logprob=-0.2))
    assert sure_of(TASK, *tokens).confidence == pytest.approx(math.exp(-0.3))
    assert sure_of(TASK, *tokens, kind="together").confidence == pytest.approx(math.exp(-0.3))
    assert sure_of(TASK, *tokens, kind="ollama").confidence == pytest.approx(math.exp(-0.3))
    assert sure_of(TASK, *tokens, kind="anthropic").confidence is None
