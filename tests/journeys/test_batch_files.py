"""What a batch reads and writes: tables, texts, PDFs, folders; in the order of the inputs, rejects aside."""

import csv
import json

import pytest
from test_batch import opened, path, read, write

from insource.collect.documents import Columns, count, documents
from insource.engines.scripted import Rule, Scripted
from insource.errors import Invalid
from insource.journeys.answer import Path, Tier
from insource.journeys.batch import Wish, batch
from insource.nouns import Task

PAGE = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800]"


def pdf(*texts: str) -> bytes:
    """A PDF with a line of text a page."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(texts)))
    parts = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, text in enumerate(texts):
        said = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET" if text else ""
        parts += [
            f"{PAGE} /Contents {5 + 2 * i} 0 R /Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(said)} >>\nstream\n{said}\nendstream",
        ]
    made, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{part}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    head = f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}"
    return made + f"{head}trailer\n<< /Size {len(parts) + 1} /Root 1 0 R >>\nstartxref\n{len(made)}\n%%EOF\n".encode()


async def test_a_csv_in_and_a_csv_out_in_order_with_rejects_aside(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text('nr,text,other\n7,plain,x\n8,"in doubt,\nand more",y\n9,,z\nbroken\n7,again,\n=1+1,odd,\n')
    async with await opened(tmp_path) as store:
        wish = Wish(columns=Columns(input="text", id="nr"))
        summary = await batch(source, tmp_path / "out.csv", path(store), store, wish=wish)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "output.label", "confidence", "decision", "release", "record", "error"]
    assert [row["id"] for row in rows] == ["7", "8", "'=1+1"], "a cell is no formula"
    assert [row["output.label"] for row in rows] == ["a", "b", ""]
    assert (rows[0]["decision"], rows[1]["decision"], rows[0]["error"]) == ("answered", "review", "")
    assert "no valid answer" in rows[2]["error"]
    assert (summary.rows, summary.bad, summary.failed) == (6, 3, 1)
    rejects = read(tmp_path / "out.csv.rejects.jsonl")
    assert [(row["line"], row["id"]) for row in rejects] == [(5, "9"), (6, None), (7, "7")]
    assert "empty" in rejects[0]["reason"]
    assert "field count" in rejects[1]["reason"]
    assert "used on line 2" in rejects[2]["reason"]


async def test_parquet_in_and_out(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"id": [3, 1, 2], "input": ["plain", "in doubt", None]}), tmp_path / "in.parquet")
    async with await opened(tmp_path) as store:
        summary = await batch(tmp_path / "in.parquet", tmp_path / "out.parquet", path(store), store)
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["id"], row["output.label"], row["confidence"]) for row in rows] == [("3", "a", 0.95), ("1", "b", 0.5)]
    assert (summary.rows, summary.bad) == (3, 1)
    assert count(tmp_path / "in.parquet") == 3


async def test_a_folder_of_texts_and_pdfs(tmp_path):
    folder = tmp_path / "mails"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_text("plain")
    (folder / "b" / "c.pdf").write_bytes(pdf("in doubt", "second page"))
    (folder / "b" / "d.md").write_bytes(b"\xff\xfe")
    (folder / "e.pdf").write_bytes(pdf(""))
    (folder / "f.pdf").write_bytes(b"%PDF-1.7 and no more")
    (folder / ".hidden.txt").write_text("no")
    (folder / "g.png").write_bytes(b"no")
    found = {one.id: one for one in documents(folder, Columns())}
    assert found["b/c.pdf"].input.split() == ["in", "doubt", "second", "page"]
    async with await opened(tmp_path) as store:
        summary = await batch(folder, tmp_path / "out.jsonl", path(store), store)
    out = {row["id"]: row for row in read(tmp_path / "out.jsonl")}
    assert list(out) == ["a.txt", "b/c.pdf", "b/d.md", "e.pdf", "f.pdf"]
    assert (out["a.txt"]["output"], out["b/c.pdf"]["decision"]) == ({"label": "a"}, "review")
    assert "UTF-8" in out["b/d.md"]["error"]
    assert "OCR" in out["e.pdf"]["error"]
    assert "no PDF that can be read" in out["f.pdf"]["error"]
    assert (summary.rows, summary.bad) == (5, 3)
    assert [row["id"] for row in read(tmp_path / "out.jsonl.rejects.jsonl")] == ["b/d.md", "e.pdf", "f.pdf"]


def test_one_file_may_be_one_document_and_json_lines_are_told_by_their_first_byte(tmp_path):
    (tmp_path / "one.txt").write_text("a text\nof two lines")
    (tmp_path / "lines.txt").write_text('{"id": 1, "input": "x"}\n{"id": 2, "input": "y"}\n')
    (tmp_path / "a.pdf").write_bytes(pdf("hello"))
    assert [(one.id, one.input) for one in documents(tmp_path / "one.txt", Columns())] == [
        ("one.txt", "a text\nof two lines")
    ]
    assert [one.id for one in documents(tmp_path / "lines.txt", Columns())] == ["1", "2"]
    assert [one.input for one in documents(tmp_path / "a.pdf", Columns())] == ["hello"]


def test_columns_are_found_or_asked_for(tmp_path):
    two = tmp_path / "two.csv"
    two.write_text("id,mail\n1,hello\n")
    assert [(one.id, one.input) for one in documents(two, Columns())] == [("1", "hello")]
    three = tmp_path / "three.csv"
    three.write_text("who,mail\n1,hello\n")
    with pytest.raises(Invalid, match="no column 'input'"):
        list(documents(three, Columns()))
    with pytest.raises(Invalid, match="no column 'text'"):
        list(documents(three, Columns(input="text")))
    with pytest.raises(Invalid, match="no column 'nr'"):
        list(documents(three, Columns(input="mail", id="nr")))
    named = [(one.id, one.input) for one in documents(three, Columns(input="mail"))]
    assert named == [("2", "hello")], "without an id a row is known by its line"
    jsonl = write(tmp_path / "in.jsonl", [{"nr": 4, "body": "hi", "x": [1]}])
    assert [(one.id, one.input) for one in documents(jsonl, Columns(input="body", id="nr"))] == [("4", "hi")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="no texts"):
        list(documents(tmp_path / "empty", Columns()))


async def test_an_extraction_in_a_table_has_a_column_a_field(tmp_path):
    schema = {"type": "object", "properties": {"who": {"type": "string"}, "parts": {"type": "array"}}}
    rules = [Rule(match="*", value={"who": "=cmd", "parts": ["seal", "x"]}, confidence=0.9)]
    async with await opened(tmp_path) as store:
        way = Path(
            task=Task(name="t", kind="extract", schema=schema),
            tiers=(Tier(Scripted("one", rules), "t@1.0.0"),),
            key=store.tenant_key,
        )
        await batch(write(tmp_path / "in.jsonl", [{"id": 1, "input": "x"}]), tmp_path / "out.csv", way, store)
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["output.who"], json.loads(row["output.parts"])) == ("'=cmd", ["seal", "x"])


async def test_rejects_of_an_earlier_run_do_not_stay(tmp_path):
    source = write(tmp_path / "in.jsonl", [b"nonsense\n"])
    async with await opened(tmp_path) as store:
        await batch(source, tmp_path / "o.jsonl", path(store), store)
        assert len(read(tmp_path / "o.jsonl.rejects.jsonl")) == 1
        write(source, [{"id": 1, "input": "x"}])
        await batch(source, tmp_path / "o.jsonl", path(store), store)
    assert not (tmp_path / "o.jsonl.rejects.jsonl").exists()
