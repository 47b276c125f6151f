"""A workbook computed again by a program that knows nothing of ours: its inputs may be changed first."""

import io
import re
import zipfile
from functools import cache
from xml.etree import ElementTree as ET

import formulas
import numpy as np

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def _tree(part):
    return ET.fromstring(part)  # noqa: S314 - of a workbook that we wrote


@cache
def compiled(formula):
    return formulas.Parser().ast(formula)[1].compile()


class Recomputed:
    """Cells by (sheet, place); what is a formula is computed when it is asked for, from what it refers to."""

    def __init__(self, book):
        with zipfile.ZipFile(io.BytesIO(book)) as parts:
            texts = [
                "".join(one.text or "" for one in entry.iter(f"{MAIN}t"))
                for entry in _tree(parts.read("xl/sharedStrings.xml"))
            ]
            names = [one.get("name") for one in _tree(parts.read("xl/workbook.xml")).iter(f"{MAIN}sheet")]
            self.values, self.formulas, self.cached = {}, {}, {}
            for number, name in enumerate(names, 1):
                for cell in _tree(parts.read(f"xl/worksheets/sheet{number}.xml")).iter(f"{MAIN}c"):
                    self._take((name.upper(), cell.get("r")), cell, texts)

    def _take(self, place, cell, texts):
        formula, value = cell.find(f"{MAIN}f"), cell.find(f"{MAIN}v")
        if formula is not None:
            self.formulas[place] = f"={formula.text}"
            self.cached[place] = value.text
        elif value is not None:
            self.values[place] = texts[int(value.text)] if cell.get("t") == "s" else float(value.text)

    def row(self, sheet, name):
        """The place of the value beside the cell that says `name`."""
        (found,) = [place for (of, place), value in self.values.items()
                    if of == sheet.upper() and place[0] == "A" and value == name]  # fmt: skip
        return sheet.upper(), f"B{found[1:]}"

    def change(self, name, value):
        """Puts another number into an input."""
        place = self.row("Inputs", name)
        assert place not in self.formulas
        self.values[place] = float(value)

    def told(self, sheet, name):
        """The value beside a name."""
        return self.at(*self.row(sheet, name))

    def at(self, sheet, place):
        """The value of a cell, computed anew."""
        known = {}
        return self._at((sheet.upper(), place), known)

    def _at(self, place, known):
        if place in known:
            return known[place]
        if place not in self.formulas:
            return self.values[place]
        made = compiled(self.formulas[place])
        given = [self._at(_place(name), known) for name in made.inputs]
        known[place] = float(np.asarray(made(*given)).ravel()[0])
        return known[place]


def _place(name):
    sheet, place = re.fullmatch(r"'?([^'!]+)'?!\$?([A-Z]+\$?\d+)", name).groups()
    return sheet, place.replace("$", "")
