"""Telephone numbers, told by libphonenumber's tables of what each country's numbers look like.

Only its tables are used: its own parser takes a hundred times as long, and reads what it pleases of a longer text.
"""

import re
from collections.abc import Iterator

from insource.errors import EngineDown
from insource.scan.checks import Check
from insource.scan.linear import Linear

REGIONS = ("US", "GB", "DE", "FR", "IT", "ES", "NL", "BE", "AT", "CH", "PL", "SE", "AU", "IN", "BR", "MX", "JP")
OTHER = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}(?!\d)|\d{1,2}([-/.])\d{1,2}\2\d{4}(?!\d)"  # a date
    r"|[\d ]*\.\d+$|\d{1,3}(?:\.\d{1,3}){3}$|\d{3}-\d{2}-\d{4}$"  # a decimal, an address, a social security number
)
# three groups, a code in brackets, or a code with its 0: two groups alone are as often a postal code and a house
GROUPED = re.compile(r"(?:\d+\D+){2}\d|\(|0\d+\D+\d{5}")
FEWEST, MOST, CUTS = 6, 15, 3


def phone(regions: tuple[str, ...] = REGIONS) -> Check:
    """Numbers with their country's code, and those of `regions` without it where they are grouped as people do it."""
    abroad, home = _tables(regions)

    def check(value: str) -> int:
        if value.startswith(("+", "(+", "00")):
            return next((stop for stop in _stops(value) if abroad.fullmatch(_international(value[:stop]))), 0)
        if OTHER.match(value) or not GROUPED.match(value):
            return 0
        return len(value) if home.fullmatch(re.sub(r"\D", "", value)) else 0

    return check


def said(value: str) -> int:
    """What follows a word such as "call" needs no more than the right length, and to be no date."""
    digits = re.sub(r"\D", "", value)
    return len(value) if FEWEST <= len(digits) <= MOST and not OTHER.match(value) else 0


def _stops(value: str) -> Iterator[int]:
    """The whole, and the whole without its last groups: what a blank sets apart may be another number."""
    stop = len(value)
    for _ in range(CUTS):
        yield stop
        found = re.search(r"\d\D+\d*$", value[:stop])
        if not found:
            return
        stop = found.start() + 1


def _international(number: str) -> str:
    digits = re.sub(r"\D", "", number.replace("(0)", ""))
    return digits.removeprefix("00")


def _tables(regions: tuple[str, ...]) -> tuple[Linear, Linear]:
    """What numbers abroad, with their country's code, and numbers of `regions`, without it, look like."""
    try:
        import phonenumbers
    except ImportError as error:
        raise EngineDown(f"{error.name} is not installed", hint="pip install 'insource[scan]'") from error
    made = [phonenumbers.PhoneMetadata.metadata_for_region(each) for each in sorted(phonenumbers.SUPPORTED_REGIONS)]
    known = [(each, each.general_desc.national_number_pattern) for each in made if each and each.general_desc]
    abroad = [f"{each.country_code}(?:{numbers})" for each, numbers in known]
    home = [
        f"(?:{each.national_prefix_for_parsing or ''})?(?:{numbers})" for each, numbers in known if each.id in regions
    ]
    return Linear("|".join(abroad)), Linear("|".join(home) or "[^\\x00-\\xff]")
