"""Files to rows: csv, JSON lines, parquet, and everything that pretends to be one of them."""

import csv
import io
import json
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from insource.collect.csv_rows import delimiter
from insource.collect.lines import lines, look
from insource.collect.read import read
from insource.errors import Invalid, Missing
from pace import within


def made(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(path: Path) -> list[dict[str, object]]:
    return [raw.cells for raw in read(path) if not raw.fault]


def faults(path: Path, **how: int) -> list[tuple[int, str]]:
    return [(raw.line, raw.fault) for raw in read(path, **how) if raw.fault]


def test_a_quoted_newline_belongs_to_its_field_and_the_next_row_knows_its_line(tmp_path: Path) -> None:
    rows = list(read(made(tmp_path, "a.csv", 'text,label\n"one\ntwo",a\nthree,b\n')))
    assert [(r.line, r.cells) for r in rows] == [
        (2, {"text": "one\ntwo", "label": "a"}),
        (4, {"text": "three", "label": "b"}),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert cells(made(tmp_path, "a.csv", b"\xef\xbb\xbftext,label\r\nhi,a\r\n")) == [{"text": "hi", "label": "a"}]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_any_common_delimiter_is_told(tmp_path: Path, mark: str) -> None:
    path = made(
        tmp_path,
        "a.csv",
        f"text{mark}label\nwell, then; so{mark}a\nno | way{mark}b\n".replace("|", mark if mark == "|" else "/"),
    )
    assert delimiter(path) in (mark, ",")
    assert delimiter(path, ("text", "label")) == mark


def test_a_single_column_is_read_as_one(tmp_path: Path) -> None:
    assert cells(made(tmp_path, "a.csv", "text\nhello\nworld\n")) == [{"text": "hello"}, {"text": "world"}]


def test_an_inch_mark_inside_a_field_is_a_character(tmp_path: Path) -> None:
    path = made(tmp_path, "a.csv", 'text,label\nreplace 2" hose,a\nfit 3" pipe,b\n')
    assert [row["text"] for row in cells(path)] == ['replace 2" hose', 'fit 3" pipe']


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    path = made(tmp_path, "a.csv", 'text,label\n"open,a\ntwo,b\n"three",c\nfour,d\n')
    assert [row["text"] for row in cells(path)] == ["two", "three", "four"]
    assert [line for line, _ in faults(path)] == [2]


def test_a_file_full_of_open_quotes_takes_no_longer_than_any_other(tmp_path: Path) -> None:
    path = made(tmp_path, "a.csv", "text,label\n" + '"open,a\nx,y\nb""c,d\n' * 20_000)
    started = time.process_time()
    found = list(read(path))
    assert within(time.process_time() - started, 5)
    assert len(found) == 60_000
    assert sum(not raw.fault for raw in found) == 40_000


def test_a_row_with_too_many_or_too_few_fields_is_named(tmp_path: Path) -> None:
    path = made(tmp_path, "a.csv", "text,label\na,b,c\nd\ne,f\n")
    assert faults(path) == [
        (2, "wrong field count: 3 fields, the header has 2"),
        (3, "wrong field count: 1 fields, the header has 2"),
    ]


def test_broken_utf8_and_zero_bytes_cost_only_their_row(tmp_path: Path) -> None:
    pad = "x" * 9000
    path = made(tmp_path, "a.csv", f"text,label\n{pad},a\n".encode() + b"caf\xe9,b\nok,c\nnul\0,d\n")
    assert faults(path) == [
        (3, "not UTF-8: byte 0xe9 at position 4 of the line"),
        (5, "binary: a zero byte at position 4 of the line"),
    ]
    assert [row["label"] for row in cells(path)] == ["a", "c"]


def test_a_line_beyond_the_limit_is_named_and_never_held(tmp_path: Path) -> None:
    path = made(tmp_path, "a.jsonl", b'{"input": "a"}\n' + b'{"input": "' + b"x" * 20_000_000 + b'"}\n{"input": "b"}\n')
    tracemalloc.start()
    found = list(read(path, limit=100_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [raw.cells.get("input") for raw in found] == ["a", None, "b"]
    assert found[1].line == 2
    assert found[1].fault == "line too long: more than 100,000 bytes"
    assert peak < 8_000_000


def test_a_line_too_long_inside_a_csv_costs_its_row(tmp_path: Path) -> None:
    path = made(tmp_path, "a.csv", b"text,label\na,b\n" + b"y" * 5000 + b",c\nd,e\n")
    assert faults(path, limit=1000) == [(3, "line too long: more than 1,000 bytes")]


def test_a_header_that_is_too_long_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no header: line too long"):
        list(read(made(tmp_path, "a.csv", b"y" * 5000), limit=1000))


def test_long_fields_are_read(tmp_path: Path) -> None:
    text = "word " * 60_000
    assert cells(made(tmp_path, "a.csv", f"text,label\n{text},a\n"))[0]["text"] == text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n\n", "is empty"),
        ("a.jsonl", b"", "is empty"),
        ("a.csv", b"PK\x03\x04rest", "Excel"),
        ("a.csv", b"\x1f\x8brest", "gzip"),
        ("a.csv", b"%PDF-1.7", "PDF"),
        ("a.csv", "text,label\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0", "binary"),
        ("a.json", b'[{"input": "a"}]', "JSON array"),
        ("a.parquet", b"text,label\na,b\n", "named parquet"),
        ("a.csv", b",,\na,b,c\n", "no header"),
    ],
)
def test_what_holds_no_rows_is_refused_in_one_sentence_with_a_next_step(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        list(read(made(tmp_path, name, content)))
    assert caught.value.hint


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no file"):
        look(tmp_path / "none.csv")
    with pytest.raises(Invalid, match="folder"):
        look(tmp_path)


def test_each_broken_json_line_is_named(tmp_path: Path) -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    shallow = '{"input": ' + "[" * 70 + "]" * 70 + "}"
    path = made(tmp_path, "a.jsonl", f'{{"input": "a"}}\n{{broken\n[1]\n\n{deep}\n{shallow}\n{{"input": "b"}}\n')
    found = faults(path)
    assert [line for line, _ in found] == [2, 3, 5, 6]
    assert found[0][1].startswith("not JSON: ")
    assert found[1][1].startswith("not an object")
    assert all(fault.startswith("nested too deeply") for _, fault in found[2:])
    assert [row["input"] for row in cells(path)] == ["a", "b"]


def test_no_file_of_the_json_test_suite_breaks_the_reader(shared: Path, tmp_path: Path) -> None:
    files = sorted((shared / "json_test_suite" / "test_parsing").glob("*.json"))
    assert len(files) > 300
    for file in files:
        path = made(
            tmp_path,
            "a.jsonl",
            b'{"input": "before"}\n' + file.read_bytes().replace(b"\n", b" ") + b'\n{"input": "after"}\n',
        )
        try:
            found = [raw.cells.get("input") for raw in read(path) if not raw.fault]
        except Invalid:
            continue  # a zero byte in the first kilobytes makes the whole file binary
        assert found[0] == "before", file.name
        assert found[-1] == "after", file.name


def test_naughty_strings_come_back_as_they_went_in(shared: Path, tmp_path: Path) -> None:
    strings = [s for s in json.loads((shared / "naughty_strings" / "blns.json").read_text("utf-8")) if "\0" not in s]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([("text", "label"), *((s, "a") for s in strings)])
    path = made(tmp_path, "a.csv", out.getvalue())
    assert [row["text"] for row in cells(path)] == strings


def test_parquet_is_read_row_by_row(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = pa.table({"text": [f"row {i}" for i in range(3000)], "label": ["a", "b", None] * 1000})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = list(read(tmp_path / "a.parquet"))
    assert len(found) == 3000
    assert (found[2].line, found[2].cells) == (3, {"text": "row 2", "label": None})


def test_a_parquet_file_cut_short_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(Invalid, match="cannot be read as parquet"):
        list(read(made(tmp_path, "a.parquet", b"PAR1 and then nothing of the kind")))


text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(text, text), min_size=1, max_size=12), mark=st.sampled_from([",", ";", "\t", "|"]))
def test_what_the_csv_module_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]], mark: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=mark, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    path = made(tmp_path, "a.csv", out.getvalue())
    found = [(raw.cells["text"], raw.cells["label"]) for raw in read(path, wanted=("text", "label"))]
    assert found == rows


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), name=st.sampled_from(["a.csv", "a.jsonl", "a"]))
def test_any_bytes_are_rows_faults_or_one_refusal(tmp_path: Path, content: bytes, name: str) -> None:
    path = made(tmp_path, name, content)
    try:
        for raw in read(path):
            assert raw.line >= 1
            assert raw.fault or isinstance(raw.cells, dict)
    except Invalid as error:
        assert str(error)


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = made(tmp_path, "a.txt", "one\r\ntwo\n\nfour")
    assert [(line.number, line.text.strip()) for line in lines(path)] == [(1, "one"), (2, "two"), (3, ""), (4, "four")]
