"""Schemathesis against a running gateway; started by `hostile.py` with an interpreter that has it, and not with ours.

    python hostile_cases.py URL KEY CASES SEED

Reads the gateway's own description (/openapi.json), draws CASES calls from it, valid and invalid ones, sends them with
a key, with none and with a wrong one, and prints as JSON what came back. In most calls the model is one that there is,
so that more than the look-up of its name is met.
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, Response
from schemathesis.specs.openapi import checks

MODELS = ("tickets", "tickets@1.0.0", "hub", "far", "far-model", "auto")
DECLARED = (502, 503)
SAMPLES, AT_ONCE = 20, 400  # samples of faults that are kept; cases drawn from one seed
KNOWN_MODEL, KEYED = 0.8, 0.8  # shares of the cases
PARTS = {"message", "type", "param", "code"}
CHECKS = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]


class Found:
    """What came of the calls."""

    def __init__(self, url: str, key: str, number: int) -> None:
        self.url, self.key, self.cases, self.failed = url, key, 0, 0
        self.statuses: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.faults: list[str] = []
        self.http = requests.Session()
        self.dice = random.Random(number)  # noqa: S311 - no secret

    def fault(self, what: str, case: Case) -> None:
        """Notes what may not be."""
        self.failed += 1
        if len(self.faults) < SAMPLES:
            self.faults.append(f"{what}: {case.method} {case.path} {str(case.body)[:300]!r} {str(case.headers)[:200]}")

    def send(self, case: Case, mode: str) -> None:
        """One case, sent and judged."""
        if isinstance(case.body, dict) and self.dice.random() < KNOWN_MODEL:
            case.body["model"] = self.dice.choice(MODELS)
        keys = (self.key,) if self.dice.random() < KEYED else ("", self.key[:-1] + "x")
        key = self.dice.choice(keys)
        given = {name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
        case.headers = given | ({"Authorization": f"Bearer {key}"} if key else {})
        try:
            answer = case.call(base_url=self.url, session=self.http, timeout=30)
        except (requests.exceptions.InvalidHeader, UnicodeError):
            return  # no client can send it
        except requests.RequestException as error:
            self.cases += 1
            self.statuses[type(error).__name__] += 1
            self.fault(type(error).__name__, case)
            return
        self.cases += 1
        self.kinds[f"{case.method} {case.path}, {mode}"] += 1
        self.judge(case, answer)

    def judge(self, case: Case, answer: Response) -> None:
        """A status that is declared, an error of OpenAI's form, and all as the description has it."""
        self.statuses[str(answer.status_code)] += 1
        if answer.status_code >= 500 and answer.status_code not in DECLARED:
            self.fault(f"an undeclared {answer.status_code}", case)
        elif answer.status_code >= 400 and not in_form(answer.content):
            self.fault(f"{answer.status_code} without an error of OpenAI's form", case)
        try:
            case.validate_response(answer, checks=CHECKS)
        except (AssertionError, BaseExceptionGroup) as failures:
            for failure in getattr(failures, "exceptions", (failures,)):
                self.fault(f"{answer.status_code} {type(failure).__name__} {str(failure)[:300]}", case)


def in_form(body: bytes) -> bool:
    """Whether it is {"error": {message, type, param, code}} with a message."""
    try:
        error = json.loads(body)["error"]
        return set(error) == PARTS and bool(error["message"])
    except (ValueError, KeyError, TypeError):
        return False


def rounds(schema: schemathesis.BaseSchema) -> Iterator[tuple[schemathesis.APIOperation, GenerationMode, int]]:
    """Operations and how many cases of each, again and again: of those that take a body many."""
    while True:
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (GenerationMode.NEGATIVE, GenerationMode.POSITIVE):
                yield operation, mode, AT_ONCE if operation.method.upper() == "POST" else AT_ONCE // 10


def drawn(operation: schemathesis.APIOperation, mode: GenerationMode, count: int, number: int, found: Found) -> None:
    """So many cases of one operation."""

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Case) -> None:
        found.send(case, mode.value)

    one()


def main() -> None:
    """Runs it."""
    url, key, wanted, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    found = Found(url, key, number)
    document = requests.get(f"{url}/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(document)
    for operation, mode, count in rounds(schema):
        if found.cases >= wanted:
            break
        number += 1
        with suppress(Unsatisfiable):  # a route that takes nothing can be given nothing wrong
            drawn(operation, mode, min(count, wanted), number, found)
        print(f"  schemathesis: {found.cases:,} of {wanted:,} cases, {found.failed} faults", file=sys.stderr)
    said = {"cases": found.cases, "failed": found.failed, "statuses": found.statuses, "kinds": found.kinds}
    print(json.dumps({**said, "faults": found.faults}))


if __name__ == "__main__":
    main()
