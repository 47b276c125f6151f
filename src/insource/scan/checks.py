"""Which of the things of the right shape are real: check digits, ranges, entropy.

A check is given the thing in its plain form and says how many of its characters are the real thing, 0 for none.
"""

import binascii
import json
import math
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from ipaddress import ip_address
from types import ModuleType

from insource.errors import EngineDown

Check = Callable[[str], int]

# Issuers' ranges as beginnings [low, high] of the number, with its lengths in digits (ISO/IEC 7812, issuers' pages)
ISSUERS = (
    ("4", "4", {13, 16, 19}),  # Visa
    ("51", "55", {16}), ("2221", "2720", {16}),  # Mastercard
    ("34", "34", {15}), ("37", "37", {15}),  # American Express
    ("300", "305", {14, 16}), ("3095", "3095", {14, 16}), ("36", "36", {14, 16}), ("38", "39", {14, 16}),  # Diners Club
    ("6011", "6011", {16, 19}), ("622126", "622925", {16, 19}), ("644", "659", {16, 19}),  # Discover
    ("3528", "3589", {16, 19}), ("1800", "1800", {15}), ("2131", "2131", {15}),  # JCB, the last two its old numbers
    ("62", "62", {16, 17, 18, 19}), ("81", "81", {16}),  # UnionPay
    ("2200", "2204", {16, 19}),  # Mir
    ("50", "50", set(range(12, 20))), ("56", "69", set(range(12, 20))),  # Maestro, RuPay, Verve, Elo
)  # fmt: skip
DOUBLED = str.maketrans("0123456789", "0246813579")
SAMPLES = re.compile(
    r"(?i)^[<\[{(%$]|^(.)\1+$|^(?:your|my|the|example|change|test|dummy|none|null|true|false|xxx|\*|\.\.)"
)
# beginnings of the months' names in six languages
MONTHS = re.compile(
    "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|okt|dez|ene|abr|ago|dic|avr|gen|mag|giu|lug|set|ott"
)
OLDEST = 125  # years
RANDOM_BITS, MIXED_BITS = 3.2, 3.0  # a character, of what a generator made; English words have less


def luhn(digits: str) -> bool:
    """True when the digits end in their check digit (ISO/IEC 7812-1, annex B)."""
    return sum(map(int, digits[::-2] + digits[-2::-2].translate(DOUBLED))) % 10 == 0


def bits(text: str) -> float:
    """Shannon's entropy of the text's own characters, in bits a character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0


def _card(value: str) -> int:
    digits = re.sub(r"\D", "", value)
    if not luhn(digits):
        return 0
    known = any(low <= digits[: len(low)] <= high and len(digits) in lengths for low, high, lengths in ISSUERS)
    return len(value) if known else 0


def _luhn(value: str) -> int:
    return len(value) if luhn(re.sub(r"\D", "", value)) else 0


def _iban(value: str) -> int:
    """Its country says how long it is; what a blank sets apart may be the next word."""
    length = _iban_length(value[:2].upper())
    places = [place for place, character in enumerate(value) if character.isalnum()]
    if not 0 < length <= len(places):
        return 0
    stop = places[length - 1] + 1
    ended = not value[stop : stop + 1].isalnum()
    return stop if ended and _stdnum("iban").is_valid(value[:stop], check_country=False) else 0


@lru_cache(maxsize=676)
def _iban_length(country: str) -> int:
    """Characters of the country's numbers, as SWIFT's registry says; 0 for no country."""
    made = _stdnum("numdb").get("iban").info(country)[0][1].get("bban", "")
    return 4 + sum(map(int, re.findall(r"\d+", made))) if made else 0


def _ip(value: str) -> int:
    try:
        address = ip_address(value)
    except ValueError:
        return 0
    return 0 if address.is_unspecified or address.is_loopback else len(value)


def _date(value: str) -> int:
    numbers = [int(each) for each in re.findall(r"\d+", value)]
    word = re.search(r"[^\W\d]{3,}", re.sub(r"\d(?:st|nd|rd|th)|\bof\b", "", value))
    if word:
        named = MONTHS.match(word[0].lower()) or not word[0].isascii()  # other alphabets' months are not told apart
        return len(value) if named and 1 <= min(numbers) <= 31 and 1870 <= max(numbers) <= 2100 else 0
    day, month, year = numbers if numbers[0] <= 31 else reversed(numbers)
    fits = 1 <= min(day, month) <= 12 and 1 <= max(day, month) <= 31
    return len(value) if fits and (year < 100 or 1870 <= year <= 2100) else 0


def _jwt(value: str) -> int:
    head = value.partition(".")[0]
    try:
        said = json.loads(b64decode(head + "=" * (-len(head) % 4), altchars=b"-_"))
    except (ValueError, binascii.Error, RecursionError):
        return 0
    return len(value) if isinstance(said, dict) and ("alg" in said or "enc" in said) else 0


def _basic(value: str) -> int:
    try:
        said = b64decode(value + "=" * (-len(value) % 4))
    except (ValueError, binascii.Error):
        return 0
    return len(value) if b":" in said and said.isascii() else 0


def _age(value: str) -> int:
    return len(value) if int(value) <= OLDEST else 0


def _mixed(value: str) -> int:
    """Letters and digits in a random order; words between hyphens are not."""
    return len(value) if re.search(r"\d", value) and re.search(r"[A-Za-z]", value) and bits(value) >= MIXED_BITS else 0


def _random(value: str) -> int:
    return _mixed(value) if bits(value) >= RANDOM_BITS and not SAMPLES.search(value) else 0


def _password(value: str) -> int:
    """What follows "password:" and is no word of a sentence: it has a digit or a sign in it, and is no sample."""
    stop = len(value.rstrip(".,;:)'\"")) or len(value)
    kept = value[:stop]
    strange = re.search(r"\d|[^\w.,-]", kept) or re.search(r"[a-z][A-Z]", kept)
    return stop if strange and stop >= 6 and not SAMPLES.search(kept) else 0


CHECKS: dict[str, Check] = {
    "card": _card, "luhn": _luhn, "iban": _iban, "ip": _ip, "date": _date, "jwt": _jwt, "basic": _basic,
    "mixed": _mixed, "random": _random, "password": _password, "age": _age,
}  # fmt: skip


def numbered(name: str) -> Check:
    """The check of one of python-stdnum's numbers, as "country.name"."""
    valid = _stdnum(name).is_valid
    return lambda value: len(value) if valid(value) else 0


def _stdnum(name: str) -> ModuleType:
    try:
        return import_module(f"stdnum.{name}")
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[scan]'") from error
