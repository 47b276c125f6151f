"""The parts of a call and of an answer that hold text, each scanned with what it is called.

What goes to an engine is scanned wherever it stands: contents, names, calls, results, offered functions, the form asked
for. Left out are pictures, sounds and files, which no shape can be seen in.
"""

import msgspec

from insource.nouns import Finding, Hit, JsonObject, JsonValue, Message, Prediction, Request, Task
from insource.scan.originals import Originals
from insource.scan.scanner import Scanner
from insource.scan.values import scan_arguments, scan_value

PLACES = 8  # of a kind, that a record says
# type of a part → where in it the bytes of a picture, a sound or a file stand
BYTES = {"image_url": "url", "input_audio": "data", "file": "file_data"}
CALLED = {"function": "arguments", "custom": "input"}


class Finder:
    """Scans part after part of one call with one map of originals, and counts what it finds by kind."""

    def __init__(self, scanner: Scanner, originals: Originals) -> None:
        self._scanner, self._originals = scanner, originals
        self._counts: dict[str, int] = {}
        self._places: dict[str, list[str]] = {}

    def hits(self) -> tuple[Hit, ...]:
        """What was found until now, in the order in which each kind was first found."""
        actions = self._scanner.policy.actions
        return tuple(
            Hit(kind=kind, action=actions[kind], count=count, places=tuple(self._places[kind]))
            for kind, count in self._counts.items()
        )

    def add(self, place: str, findings: tuple[Finding, ...]) -> None:
        """Counts findings in the part called `place`."""
        for one in findings:
            if one.kind not in self._scanner.policy.actions:
                continue  # text that looked like a placeholder of ours is replaced, and is nothing to tell of
            self._counts[one.kind] = self._counts.get(one.kind, 0) + 1
            places = self._places.setdefault(one.kind, [])
            if len(places) < PLACES:
                places.append(f"{place} {one.start}:{one.stop}")

    def text(self, text: str, place: str) -> str:
        """A text with what may go on of it."""
        done = self._scanner.scan(text, self._originals)
        self.add(place, done.findings)
        return done.text

    def value(self, value: JsonValue, place: str) -> JsonValue:
        """The same for every text in a JSON value, names of keys and long numbers too."""
        done = scan_value(value, self._scanner, self._originals)
        self.add(place, done.findings)
        return done.value

    def form(self, value: JsonValue, place: str) -> JsonValue:
        """Every text in an object of the API. Its keys and types are the API's own words, its numbers are limits."""
        if isinstance(value, str):
            return self.text(value, place)
        if isinstance(value, list):
            return [self.form(each, place) for each in value]
        if isinstance(value, dict):
            return {key: each if key == "type" else self.form(each, place) for key, each in value.items()}
        return value

    def request(self, request: Request) -> Request:
        """Everything of a call without a task that its engine gets."""
        return msgspec.structs.replace(
            request,
            messages=tuple(self._message(message, f"messages[{i}]") for i, message in enumerate(request.messages)),
            tools=self.form(request.tools, "tools"),
            tool_choice=self.form(request.tool_choice, "tool_choice"),
            response_format=self.form(request.response_format, "response_format"),
            stop=tuple(self.text(stop, "stop") for stop in request.stop),
        )

    def prediction(self, said: Prediction, task: Task | None) -> Prediction:
        """Everything of an answer that its caller gets: of a task its value, else text and calls."""
        if task is None:
            made = self.calls(said)
            return msgspec.structs.replace(made, text=self.text(said.text, "content"), value=None)
        value = None if said.value is None else self.value(said.value, "output")
        if value == said.value:
            return said
        return msgspec.structs.replace(said, text="", value=value, alternatives={})

    def calls(self, said: Prediction) -> Prediction:
        """The answer's calls of functions."""
        if not said.tool_calls:
            return said
        calls = tuple(self._call(call, f"tool_calls[{i}]") for i, call in enumerate(said.tool_calls))
        return msgspec.structs.replace(said, tool_calls=calls)

    def _message(self, message: Message, place: str) -> Message:
        content, calls = message.content, message.tool_calls
        if isinstance(content, list):
            content = [self._part(part, f"{place}.content[{i}]") for i, part in enumerate(content)]
        return msgspec.structs.replace(
            message,
            content=self.text(content, f"{place}.content") if isinstance(content, str) else content,
            name=message.name and self.text(message.name, f"{place}.name"),
            tool_calls=calls and [self._call(call, f"{place}.tool_calls[{i}]") for i, call in enumerate(calls)],
            tool_call_id=message.tool_call_id and self.text(message.tool_call_id, f"{place}.tool_call_id"),
        )

    def _part(self, part: JsonObject, place: str) -> JsonValue:
        kind = part.get("type")
        inner, field = (part.get(kind), BYTES[kind]) if kind in BYTES else (None, "")
        bytes_ = inner.get(field) if isinstance(inner, dict) else None
        if (
            not isinstance(inner, dict)
            or not isinstance(bytes_, str)
            or (kind == "image_url" and not bytes_.startswith("data:"))
        ):
            return self.form(part, place)
        made = self.form(part | {kind: inner | {field: ""}}, place)
        return {**made, kind: {**made[kind], field: bytes_}}

    def _call(self, call: JsonObject, place: str) -> JsonObject:
        kind = call.get("type", "function")
        inner, field = (call.get(kind), CALLED[kind]) if kind in CALLED else (None, "")
        arguments = inner.get(field) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not isinstance(arguments, str):
            return dict(self.form(call, place))
        done = scan_arguments(arguments, self._scanner, self._originals)
        self.add(f"{place}.{field}", done.findings)
        made = self.form({**call, kind: {**inner, field: ""}}, place)
        return {**made, kind: {**made[kind], field: done.text}}
