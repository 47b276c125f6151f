"""A choice or a regex that a caller asks for: each kind of server is asked in its own form, or the call is refused."""

import pytest
from talking import said_by

from insource.engines.dialects import dialects, found
from insource.engines.scripted_server import Reply
from insource.errors import EngineError, Invalid
from insource.nouns import Message, Request

FORMS = {"choice": ["low", "high (now)"], "regex": r"PO-\d{6}"}
FORMS_AT = {
    ("vllm", "choice"): ("structured_outputs.choice", ["low", "high (now)"]),
    ("vllm", "regex"): ("structured_outputs.regex", r"PO-\d{6}"),
    ("tgi", "choice"): ("response_format.value", r"(low|high \(now\))"),
    ("tgi", "regex"): ("response_format.value", r"PO-\d{6}"),
    ("lmdeploy", "choice"): ("response_format.regex_schema", r"(low|high \(now\))"),
    ("lmdeploy", "regex"): ("response_format.regex_schema", r"PO-\d{6}"),
    ("llamacpp", "choice"): ("grammar", 'root ::= "low" | "high (now)"'),
}


@pytest.mark.parametrize("kind", dialects())
@pytest.mark.parametrize("form", FORMS)
def test_a_callers_choice_or_regex_is_asked_for_or_refused(kind, form):
    turns = (Message(role="user", content="x"),)
    request = Request(id="1", messages=turns, response_format={"type": form, form: FORMS[form]})
    if (kind, form) in FORMS_AT:
        where, what = FORMS_AT[kind, form]
        assert found(said_by(kind, [Reply(text="low")], request)[1].seen[0], where) == what
    else:
        with pytest.raises(EngineError, match=form):
            said_by(kind, [Reply(text="low")], request)
    wrong = Request(id="2", messages=turns, response_format={"type": form, form: 5})
    with pytest.raises(Invalid):
        said_by(kind, [Reply(text="low")], wrong)
