"""Personal data and secrets out of texts before they are rows: the same person is the same placeholder in every row.

A placeholder's number comes from HMAC-SHA-256 of what it stands for, under the workspace's own key, so that it is the
same in every file and every year, and no map back is kept anywhere. Two of n different values share a number with
probability below n²/20,000,000. What people's names are nobody tells without a model for them; e-mail addresses,
telephone numbers, cards, accounts and identity numbers are told by their shapes (see the scan room).
"""

import hmac
import re
from collections import Counter

from insource.errors import ScanFailed
from insource.nouns import JsonValue, ScanPolicy
from insource.scan.originals import Originals
from insource.scan.scanner import Scanner

SECRETS = ("api_key", "password", "jwt", "private_key")
PERSONAL = (
    "email", "phone", "card", "iban", "ip_address", "mac_address", "wallet", "birth_date", "document_id", "national_id",
)  # fmt: skip
MOST = 9_999_999
NUMBERS = ("phone", "card", "iban", "national_id", "document_id")


class Private:
    """Replaces secrets, and with `personal` also personal data and the owner's own `terms`; counts what it replaced."""

    def __init__(self, key: bytes, *, personal: bool = True, terms: tuple[str, ...] = ()) -> None:
        kinds = (*SECRETS, *(PERSONAL if personal else ()), *(("own_term",) if personal and terms else ()))
        self.kinds: Counter[str] = Counter()
        self._scanner = Scanner(ScanPolicy(actions=dict.fromkeys(kinds, "redact")), terms=terms if personal else ())
        self._numbers = _Numbers(key)

    def text(self, text: str) -> str:
        """The text with placeholders such as "[email 4821377]". Raises `ScanFailed` where it cannot be scanned."""
        done = self._scanner.scan(text, self._numbers)
        self.kinds.update(finding.kind for finding in done.findings if finding.kind in self._scanner.policy.actions)
        return done.text

    def shown(self, text: str) -> str:
        """The same for what is only shown to people, uncounted; empty where it cannot be scanned."""
        try:
            return self._scanner.scan(text, self._numbers).text
        except ScanFailed:
            return ""

    def value(self, value: JsonValue) -> JsonValue:
        """The same of every text in a JSON value; names of keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return {key: self.value(item) for key, item in value.items()} if isinstance(value, dict) else value


class _Numbers(Originals):
    """Placeholders without a map: their number is a keyed digest."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key
        self.escapes = False  # nothing is ever put back, so text that looks like a placeholder does no harm

    def placeholder(self, kind: str, value: str) -> str:
        """What stands for `value`, however it is spaced and cased."""
        level = re.sub(r"\W", "", value) if kind in NUMBERS else value.strip()
        found = hmac.digest(self._key, f"{kind}\0{level.casefold()}".encode("utf-8", "surrogatepass"), "sha256")
        return f"[{kind} {int.from_bytes(found[:8]) % MOST + 1}]"
