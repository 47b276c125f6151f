"""What a specialist of bench/extract.py must beat: patterns for receipts, centroids and sentences for clauses.

Each gives one answer a text. The answers are written as the rules of a scripted engine, so that they are measured by
the same code, on the same rows, as every other candidate.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insource.nouns import Example, JsonObject

COMPANY = re.compile(
    r"\b(SDN\.?|BHD|ENTERPRISES?|TRADING|RESTAURANT|RESTORAN|MART|STORES?|SHOP|CAFE|HARDWARE|BOOK|PHARMACY|STATION|"
    r"COMPANY|HOLDINGS|INDUSTRIES|MARKETING|SUPERMARKET|GIFT|KITCHEN|S/B|BERHAD|PLT)\b", re.IGNORECASE)  # fmt: skip
MONTH = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
DATE = re.compile(
    rf"\b(\d{{1,2}}[/.-]\d{{1,2}}[/.-]\d{{2,4}}|\d{{4}}[/.-]\d{{1,2}}[/.-]\d{{1,2}}|\d{{1,2}}[ /-]?(?:{MONTH})[A-Z]*"
    rf"[ /,-]*\d{{2,4}}|(?:{MONTH})[A-Z]* \d{{1,2}},? \d{{2,4}})\b", re.IGNORECASE)  # fmt: skip
AMOUNT = re.compile(r"(?<![\d.,])((?:RM|\$)?(?:\d{1,3}(?:,\d{3})+|\d+)\.\d{2})(?![\d%])")
END = re.compile(
    r"\b(TEL|FAX|PHONE|GST|TAX|INVOICE|RECEIPT|CASH|DATE|DOCUMENT|DOC|BILL|EMAIL|WWW|HTTP|REG|CO\.? ?NO|ROC|TABLE|"
    r"CASHIER|ORDER|TIME|H/P|HOTLINE|WELCOME)\b|@|\*{3}|-{3}", re.IGNORECASE)  # fmt: skip
SENTENCE = re.compile(r"[^\s].*?(?:[.;:](?=\s)|\n|$)", re.DOTALL)
SHORTEST = 20
Marked = tuple[str, int, int, str]
TAIL = re.compile(r"\s*\((?:CO|REG|GST|NO|ROC|\d|[A-Z]{0,3}\d)[^()]*\)?\s*$|\s+\d{5,}-?[A-Z]?$", re.IGNORECASE)
ASIDE = re.compile(r"^\(|FORMERLY|LICENSEE|^\d{9,}|^\d{6,}-[A-Z]$|^[A-Z]{0,3}\d{7,}", re.IGNORECASE)
SCANNED = "TAN WOON YANN"
NUMBERED = re.compile(
    r"^\(?\s*(?:CO\.?\s*(?:REG|NO)?[ .:]*)?\(?\d{5,7}\s*-\s*[A-Z]\)?$|^\(.*\d{5,}.*\)$", re.IGNORECASE
)
TOTALS = tuple(re.compile(words, re.IGNORECASE) for words in (
    r"ROUND(ED|D)?\s*TOTAL|TOTAL\s*ROUNDED|GRAND\s*TOTAL|NETT?\s*TOTAL|TOTAL\s*AMOUNT\b|TOTAL\s*(AMT|AMOUNT)?\s*PAYABLE|AMOUNT\s*DUE",
    r"TOTAL.*(INCL|INC\b|WITH\s*GST|AFTER)(?!UDED\s*IN)",
    r"^\W*TOTAL\b(?!.*(EXCL|QTY|QUANT|ITEM|SUB|GST|TAX|DISC|SAVING|BEFORE))",
    r"\bTOTAL\b(?!.*(EXCL|QTY|QUANT|ITEM|SUB|GST|TAX|DISC|SAVING|BEFORE))",
))  # fmt: skip


def receipt(text: str) -> JsonObject:
    """The four fields of a receipt by patterns, written while looking at receipts of the train split only."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip() != SCANNED]
    at = next((i for i, line in enumerate(lines[:5]) if COMPANY.search(line)), 0)
    return {
        "company": TAIL.sub("", lines[at])[:80] if lines else None,
        "date": next((found[1][:24] for line in lines if (found := DATE.search(line))), None),
        "address": _address(lines[at + 1 :]),
        "total": _total(lines),
    }


def _address(lines: Sequence[str]) -> str | None:
    """The lines after the company up to the first that begins something else."""
    kept: list[str] = []
    for line in lines[:9]:
        if NUMBERED.search(line) or ASIDE.search(line):
            if kept:
                break
            continue
        if END.search(line) or DATE.search(line):
            if kept:
                break
            continue
        kept.append(line)
    return " ".join(kept)[:200] or None


def _total(lines: Sequence[str]) -> str | None:
    """The amount on or under a plain line of total, else what was paid less the change, else one near, or the largest.

    Where labels stand in one column and amounts in the next, no amount is on or under its label.
    """
    found = _named(lines, 2) or _left(lines) or _named(lines, 4)
    if found is None:
        amounts = [amount for line in lines for amount in AMOUNT.findall(line)]
        found = max(amounts, key=_cents, default=None)
    return found and found.replace(",", "")


def _named(lines: Sequence[str], reach: int) -> str | None:
    """The first amount on the line that says total most plainly, or on the next ones, `reach` lines in all."""
    for words in TOTALS:
        for i, line in enumerate(lines):
            if words.search(line):
                near = AMOUNT.findall("\n".join(lines[i : i + reach]))
                if near:
                    return str(near[0])
    return None


def _left(lines: Sequence[str]) -> str | None:
    """The largest amount after the first total that is followed by a larger one and then by their difference."""
    first = next((i for i, line in enumerate(lines) if "TOTAL" in line.upper()), 0)
    after = [str(amount) for line in lines[first:] for amount in AMOUNT.findall(line)]
    cents = [_cents(amount) for amount in after]
    paid = [i for i, due in enumerate(cents) if due and _paid(due, cents[i + 1 : i + 7])]
    return after[max(paid, key=lambda i: cents[i])] if paid else None


def _paid(due: int, later: Sequence[int]) -> bool:
    """Whether a sum larger than what is due is followed by the difference: the change."""
    return any(given > due and given - due in later[k + 1 :] for k, given in enumerate(later))


def _cents(amount: str) -> int:
    return int(re.sub(r"\D", "", amount))


def centroids(train: Sequence[Example], texts: Sequence[str]) -> list[str]:
    """The label whose mean TF-IDF vector (words, word pairs and runs of four characters) is nearest by cosine."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion
    from sklearn.preprocessing import normalize

    features = FeatureUnion([
        ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)),
        ("letters", TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), sublinear_tf=True, min_df=2)),
    ])  # fmt: skip
    known = features.fit_transform([row.input for row in train])
    labels = sorted({str(row.target["label"]) for row in train})
    number = np.array([labels.index(str(row.target["label"])) for row in train])
    means = np.vstack([np.asarray(known[number == i].mean(axis=0)) for i in range(len(labels))])
    nearest = (features.transform(texts) @ normalize(means).T).argmax(axis=1)
    return [labels[i] for i in nearest]


def sentences(text: str) -> list[tuple[int, int]]:
    """The characters of each sentence or line of a contract that holds a few words."""
    return [found.span() for found in SENTENCE.finditer(text) if found.end() - found.start() >= SHORTEST]


def clauses(train: Sequence[tuple[str, Sequence[Marked]]], texts: Sequence[str]) -> list[JsonObject]:
    """Whole contracts by a linear model over sentences: each is of one type or of none, and is found whole.

    A sentence learns the type of the marked clause that covers most of it, at least half. Rows as `batch` writes them.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier

    pieces, labels = [], []
    for text, gold in train:
        for start, stop in sentences(text):
            pieces.append(text[start:stop])
            labels.append(_covering(start, stop, gold))
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    model = SGDClassifier(loss="log_loss", alpha=1e-5, class_weight="balanced", random_state=0)
    model.fit(features.fit_transform(pieces), labels)
    rows = []
    for text in texts:
        spans = sentences(text)
        said = model.predict(features.transform([text[start:stop] for start, stop in spans])) if spans else []
        row: JsonObject = {"output": {}, "places": {}}
        for (start, stop), kind in zip(spans, said, strict=True):
            if kind:
                row["output"].setdefault(kind, []).append(text[start:stop])
                row["places"].setdefault(kind, []).append([start, stop])
        rows.append(row)
    return rows


def _covering(start: int, stop: int, gold: Sequence[Marked]) -> str:
    shared = [(min(stop, high) - max(start, low), kind) for kind, low, high, _ in gold]
    most, kind = max(shared, default=(0, ""))
    return kind if most * 2 >= stop - start else ""


def write_script(path: Path, texts: Sequence[str], values: Sequence[JsonObject]) -> None:
    """The answers as a scripted engine; a longer text's rule comes first, since a rule also matches what holds it."""
    pairs = sorted(zip(texts, values, strict=True), key=lambda pair: -len(pair[0]))
    rules = [json.dumps({"match": text, "value": value}) for text, value in pairs if text]
    path.write_text("\n".join(rules) + "\n", "utf-8")
