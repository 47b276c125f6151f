"""Texts against a policy: what was found, what is to be done, and the text that may go on. Whole, or as a stream.

Anything that goes wrong while scanning is `ScanFailed`, and nothing passes then.
"""

from types import TracebackType

from insource.errors import InsourceError, Invalid, ScanFailed
from insource.nouns import Action, Finding, Noun, ScanPolicy
from insource.scan.find import BEFORE, Reading, Recogniser, Shapes, View, table
from insource.scan.names import KINDS as NAMED
from insource.scan.names import Named, Names
from insource.scan.originals import Originals
from insource.scan.phones import REGIONS
from insource.scan.terms import Terms

LITERAL = "placeholder"  # the kind of what looks like a placeholder and is none


class Scanned(Noun, frozen=True, kw_only=True):
    """What came of a text, or of a piece: the strictest action called for, the text that may go on, the findings.

    Of a text that is blocked nothing goes on; of a stream, nothing from the finding on that blocks it.
    """

    text: str
    action: Action | None = None
    findings: tuple[Finding, ...] = ()


class Scanner:
    """Everything that `policy` names, ready to be looked for; made once, it serves any number of texts at a time.

    `terms` are the owner's own, `names` the model for names, `regions` (ISO 3166) the countries whose telephone numbers
    are known without their code. Raises `Invalid` for a kind that is unknown, or that needs terms or a model.
    """

    def __init__(
        self, policy: ScanPolicy, *,
        terms: tuple[str, ...] = (), names: Names | None = None, regions: tuple[str, ...] = REGIONS,
    ) -> None:  # fmt: skip
        self.policy = policy
        shaped = set(policy.actions) & set(table()) - {LITERAL}
        others = {"own_term": bool(terms), **dict.fromkeys(NAMED, names is not None)}
        for kind in policy.actions:
            if kind not in shaped and not others.get(kind):
                hint = "give its terms" if kind == "own_term" else "install a model for names" if kind in others else ""
                raise Invalid(f"cannot look for {kind!r}", hint=hint or f"kinds: {', '.join([*table(), *others])}")
        redacts = "redact" in policy.actions.values()
        self.recognisers: list[Recogniser] = [Shapes(shaped, regions)] if shaped else []
        self.recognisers += [Terms(terms)] if "own_term" in policy.actions else []
        self.recognisers += [Named(names)] if names and set(NAMED) & set(policy.actions) else []
        self.literal: list[Recogniser] = [Shapes((LITERAL,))] if redacts else []

    def scan(self, text: str, originals: Originals | None = None) -> Scanned:
        """All of a text; blocked, it is empty. See `Stream` for `originals`."""
        done = Stream(self, originals).close(text)
        return Scanned(text="", action="block", findings=done.findings) if done.action == "block" else done


class Stream:
    """One text that comes in pieces. However it is cut, what goes on is the same.

    With `originals` the redaction can be undone: what it replaces goes there. Text that already looks like a
    placeholder is then replaced too, so that only our own are turned back; not so with a map made by `beyond`.
    """

    def __init__(self, scanner: Scanner, originals: Originals | None = None) -> None:
        literal = scanner.literal if originals is not None and originals.escapes else []
        self._policy = scanner.policy
        self._readings: list[Reading] = [each.begin() for each in (*scanner.recognisers, *literal)]
        self._originals = Originals() if originals is None else originals
        self._text, self._base, self._sent = "", 0, 0
        self._pending: list[Finding] = []
        self._inside: dict[str, int] = {}  # where the last finding of a kind stops
        self._over = False

    @property
    def held(self) -> int:
        """How many characters are held back."""
        return max(0, self._base + len(self._text) - self._sent)

    def feed(self, piece: str) -> Scanned:
        """What may go on after this piece, with the findings that are certain since the last."""
        return self._go(piece, ended=False)

    def close(self, piece: str = "") -> Scanned:
        """The rest, after a last piece."""
        return self._go(piece, ended=True)

    def _go(self, piece: str, *, ended: bool) -> Scanned:
        if self._over:
            raise ScanFailed("the text is over, was blocked, or could not be scanned")
        self._over = True  # until all has gone well
        self._text += piece
        view = View(self._text, self._base, ended=ended)
        with _FailClosed():
            for reading in self._readings:
                self._pending += reading.read(view)
            until = min((reading.settled for reading in self._readings), default=view.end)
            found = self._certain(until)
            said = self._said(found, until)
        self._over = ended or self._policy.strictest(found) == "block"
        self._forget(until)
        return Scanned(text=said, action=self._policy.strictest(found), findings=found)

    def _certain(self, until: int) -> tuple[Finding, ...]:
        """Findings that begin before `until`, in order; of those within another of their kind only the outer one."""
        certain = []
        for one in sorted((each for each in self._pending if each.start < until), key=_order):
            if one.stop > self._inside.get(one.kind, -1):
                self._inside[one.kind] = one.stop
                certain.append(one)
        self._pending = [each for each in self._pending if each.start >= until]
        return tuple(certain)

    def _said(self, findings: tuple[Finding, ...], until: int) -> str:
        """The text up to `until`; what two findings share belongs to the first."""
        said = []
        for one in findings:
            action = self._policy.actions.get(one.kind, "redact")
            start = max(one.start, self._sent)
            if action in ("redact", "block"):
                said.append(self._between(self._sent, start))
                self._sent = start
            if action == "block":
                return "".join(said)
            if action == "redact" and start < one.stop:
                said.append(self._originals.placeholder(one.kind, self._between(start, one.stop)))
                self._sent = one.stop
        said.append(self._between(self._sent, until))
        self._sent = max(self._sent, until)
        return "".join(said)

    def _between(self, start: int, stop: int) -> str:
        return self._text[start - self._base : max(start, stop) - self._base]

    def _forget(self, until: int) -> None:
        """Drops what nothing will be asked of any more."""
        gone = min(self._sent, until, *(reading.settled for reading in self._readings)) - BEFORE - self._base
        if gone > 0:
            self._text, self._base = self._text[gone:], self._base + gone


class _FailClosed:
    """Whatever is raised inside becomes a refusal. Its own words are left out: they may repeat the text."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, InsourceError):
            raise ScanFailed(f"the scan failed: {type(error).__name__}", hint="nothing was passed on") from None


def _order(finding: Finding) -> tuple[int, int, str, str]:
    return finding.start, -finding.stop, finding.kind, finding.form
