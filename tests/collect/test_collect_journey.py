"""The whole of collect on real files and a real store: what is kept, what is set aside, what a failure leaves."""

import asyncio
import csv
import json
import os
import random
import threading
from pathlib import Path

import pytest

from insource.collect.rejects import Rejects
from insource.collect.split import with_groups
from insource.collect.suspects import suspicions
from insource.errors import Conflict, Invalid, Missing, StoreError
from insource.nouns import Example, Output, Task, canonical, digest
from insource.settings import load_task

LABELS = ("refund", "status", "cancel")


def text(i: int) -> str:
    return f"{digest(str(i))[:14]} please {LABELS[i % 3]} {digest(str(-i))[:14]}"


def table(rows: range, *, head: str = "text,label") -> str:
    return f"{head}\n" + "".join(f"{text(i)},{LABELS[i % 3]}\n" for i in rows)


async def test_rows_without_a_task_make_one_and_say_so(workspace) -> None:
    file = workspace.write("rows.csv", table(range(600)))
    done = await workspace.collect("tickets", file, input="text", targets=("label",))
    assert (done.rows.read, done.rows.kept, done.rows.rejected, done.rows.duplicates) == (600, 600, 0, 0)
    assert done.splits == {"train": 480, "dev": 60, "test": 60}
    assert (done.verdict, done.rejects, done.refused) == ("ready", None, ())
    assert "made tasks/tickets.toml" in done.notes[0]
    assert load_task(workspace.settings, "tickets").outputs[0].labels == tuple(sorted(LABELS))
    assert (workspace.root / "labels/tickets-label.txt").read_text() == "cancel\nrefund\nstatus\n"
    assert (workspace.root / done.page).is_file()
    assert not workspace.leftovers()


async def test_the_dataset_is_the_digest_of_its_rows_and_remembers_its_files(workspace) -> None:
    file = workspace.write("rows.csv", table(range(60)))
    done = await workspace.collect("tickets", file, input="text", targets=("label",))
    rows, dataset = await workspace.rows("tickets"), await workspace.dataset("tickets")
    assert done.dataset == digest(b"".join(canonical(row) + b"\n" for row in rows)) == dataset.id
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert dataset.lineage == (
        {
            "file": "rows.csv", "sha256": digest(file.read_bytes()), "read": 60, "kept": 60, "rejected": 0,
            "columns": {"input": "text", "label": "label"},
        },
    )  # fmt: skip


async def test_order_of_rows_and_files_changes_nothing(workspace) -> None:
    workspace.task("one", *LABELS)
    workspace.task("two", *LABELS)
    lines = table(range(200)).splitlines()
    first = workspace.write("a.csv", "\n".join(lines) + "\n")
    back = workspace.write("b.csv", "\n".join([lines[0], *reversed(lines[101:])]) + "\n")
    front = workspace.write("c.csv", "\n".join([lines[0], *reversed(lines[1:101])]) + "\n")
    await workspace.collect("one", first)
    await workspace.collect("one", back, front, replace=True)
    by_input = {row.input: (row.split, row.group) for row in await workspace.rows("one")}
    await workspace.collect("one", first, replace=True)
    assert by_input == {row.input: (row.split, row.group) for row in await workspace.rows("one")}


async def test_collecting_again_adds_what_is_new_and_moves_nothing(workspace) -> None:
    workspace.task("tickets", *LABELS)
    await workspace.collect("tickets", workspace.write("a.csv", table(range(100))))
    before = {row.id: row.split for row in await workspace.rows("tickets")}
    done = await workspace.collect("tickets", workspace.write("b.csv", table(range(50, 160))))
    assert (done.rows.read, done.rows.kept, done.rows.duplicates) == (110, 60, 50)
    after = {row.id: row.split for row in await workspace.rows("tickets")}
    assert len(after) == 160
    assert all(after[key] == split for key, split in before.items())
    again = await workspace.collect("tickets", workspace.root / "b.csv")
    assert (again.rows.kept, again.dataset) == (0, done.dataset)
    assert len((await workspace.dataset("tickets")).lineage) == 2
    fresh = await workspace.collect("tickets", workspace.root / "b.csv", replace=True)
    assert sum(fresh.splits.values()) == 110


async def test_train_then_test_as_published_sets_come(workspace) -> None:
    train, test = workspace.write("train.csv", table(range(300))), workspace.write("test.csv", table(range(290, 400)))
    first = await workspace.collect("tickets", train, input="text", targets=("label",), split="train")
    assert first.splits == {"train": 270, "dev": 30}
    second = await workspace.collect("tickets", test, input="text", targets=("label",), split="test")
    assert second.splits["test"] == 110
    assert second.rows.duplicates == 10
    leak = next(finding for finding in second.findings if finding.kind == "leaks")
    assert "10 rows stood in two splits" in leak.message
    assert not {row.id for row in await workspace.rows("tickets") if row.split == "train"} & {
        row.id for row in await workspace.rows("tickets") if row.split == "test"
    }
    again = await workspace.collect("tickets", train, split="train", input="text", targets=("label",))
    assert again.splits == second.splits


async def test_leaks_are_kept_and_told_or_dropped_on_request(workspace) -> None:
    workspace.task("tickets", *LABELS)
    train = workspace.write("train.csv", table(range(100)) + "where is my lovely parcel today,status\n")
    test = workspace.write("test.csv", table(range(100, 130)) + "Where is my lovely parcel today??,status\n")
    await workspace.collect("tickets", train, split="train")
    kept = await workspace.collect("tickets", test, split="test")
    assert "leaks" in {finding.kind for finding in kept.findings}
    assert sum(kept.splits.values()) == 132
    dropped = await workspace.collect("tickets", test, split="test", drop_leaks=True)
    assert "leaks" not in {finding.kind for finding in dropped.findings}
    assert dropped.splits == {**kept.splits, "train": kept.splits["train"] - 1}


async def test_a_split_column_and_tags_are_honoured(workspace) -> None:
    rows = "".join(f'{{"input": "{text(i)}", "target": "{LABELS[i % 3]}", "split": "{s}", "site": "A{i % 2}"}}\n'
                   for i, s in enumerate(["train", "validation", "TEST"] * 30))  # fmt: skip
    workspace.task("tickets", *LABELS)
    done = await workspace.collect("tickets", workspace.write("a.jsonl", rows), tags=("site",))
    assert done.splits == {"train": 30, "dev": 30, "test": 30}
    assert {row.tags["site"] for row in await workspace.rows("tickets")} == {"A0", "A1"}
    forced = await workspace.collect("tickets", workspace.root / "a.jsonl", replace=True, split="train")
    assert forced.splits["train"] == 81


async def test_every_rejected_row_is_in_the_rejects_file_with_its_line_and_reason(workspace) -> None:
    workspace.task("tickets", *LABELS)
    bad = "just one field\n,refund\nsome text,\nsome other text,refnd\n"
    done = await workspace.collect(
        "tickets", workspace.write("a.csv", table(range(90)).encode() + bad.encode() + b"caf\xe9,refund\n")
    )
    assert (done.rows.read, done.rows.kept, done.rows.rejected) == (95, 90, 5)
    assert done.rejects.startswith(".insource/collect/tickets/rejects-")
    said = [json.loads(line) for line in (workspace.root / done.rejects).read_text().splitlines()]
    assert [(one["file"], one["line"], one["reason"].split(":")[0]) for one in said] == [
        ("a.csv", 92, "wrong field count"),
        ("a.csv", 93, "no input"),
        ("a.csv", 94, "no target"),
        ("a.csv", 95, "unknown label"),
        ("a.csv", 96, "not UTF-8"),
    ]
    assert "the nearest is 'refund'" in said[3]["reason"]
    assert said[3]["row"].startswith("some other text")
    finding = next(one for one in done.findings if one.kind == "rejected")
    assert (finding.count, len(finding.examples)) == (5, 5)


async def test_strict_keeps_nothing_when_a_row_was_rejected(workspace) -> None:
    file = workspace.write("a.csv", table(range(600)) + "x,\n")
    done = await workspace.collect("tickets", file, input="text", targets=("label",), strict=True)
    assert done.refused
    assert await workspace.dataset("tickets") is None
    assert not (workspace.root / "tasks/tickets.toml").exists()
    assert (workspace.root / done.rejects).is_file()
    assert (workspace.root / done.page).is_file()
    clean = workspace.write("b.csv", table(range(600)))
    assert not (await workspace.collect("tickets", clean, input="text", targets=("label",), strict=True)).refused


@pytest.mark.parametrize(
    ("content", "wish", "error", "said"),
    [
        ("text,label\n", {}, Invalid, "no rows"),
        ("", {}, Invalid, "is empty"),
        ("a,b\nc,d\n", {}, Invalid, "no column 'text'"),
        ("text,label\nx,refund\ny,refund\n", {}, Invalid, "nothing to learn"),
        ("text,label\nx,refund\n", {}, Invalid, "nothing to learn"),
        ("text,label\n,refund\n,status\n", {}, Invalid, "none of the rows has a target"),
        ("text,label\nx,refund\ny,status\n", {"split": "../up"}, Invalid, "unknown split"),
        (b"\x00\x01\x02", {}, Invalid, "binary"),
    ],
)
async def test_data_that_cannot_be_used_is_one_sentence_and_leaves_nothing(
    workspace, content, wish, error, said
) -> None:
    file = workspace.write("a.csv", content)
    with pytest.raises(error, match=said) as caught:
        await workspace.collect("tickets", file, input="text", targets=("label",), **wish)
    assert caught.value.hint
    assert await workspace.dataset("tickets") is None
    assert not (workspace.root / "tasks/tickets.toml").exists()
    assert not (workspace.root / "labels/tickets-label.txt").exists()
    assert not workspace.leftovers()


async def test_rows_of_one_class_or_none_usable_are_refused_for_a_task_that_exists(workspace) -> None:
    workspace.task("tickets", *LABELS)
    with pytest.raises(Invalid, match="every row has the same label: 'refund'"):
        await workspace.collect("tickets", workspace.write("a.csv", "text,label\nx,refund\ny,refund\n"))
    with pytest.raises(Invalid, match=r"none of the 2 rows can be used; b.csv:2: unknown label") as caught:
        await workspace.collect("tickets", workspace.write("b.csv", "text,label\nx,zzz\ny,zzz\n"))
    assert "rejects-" in caught.value.hint
    assert await workspace.dataset("tickets") is None


async def test_a_missing_file_or_task_is_named_with_what_to_do(workspace) -> None:
    workspace.task("tickets", *LABELS)
    with pytest.raises(Missing, match="no file"):
        await workspace.collect("tickets", workspace.root / "none.csv")
    file = workspace.write("a.csv", table(range(30)))
    with pytest.raises(Missing, match="no task 'tickts'") as caught:
        await workspace.collect("tickts", file)
    assert "did you mean tickets?" in caught.value.hint
    assert "--target" in caught.value.hint
    with pytest.raises(Invalid, match="cannot be a task's name"):
        await workspace.collect("../up", file, input="text", targets=("label",))


async def test_labels_taken_out_of_the_task_are_a_conflict_with_the_rows_kept_before(workspace) -> None:
    workspace.task("tickets", *LABELS)
    file = workspace.write("a.csv", table(range(90)))
    await workspace.collect("tickets", file)
    workspace.task("tickets", "refund", "status")
    with pytest.raises(Conflict, match="30 rows kept before carry labels"):
        await workspace.collect("tickets", file)
    assert sum((await workspace.collect("tickets", file, replace=True)).splits.values()) == 60


async def test_several_outputs_and_conversations_and_schemas_are_taken_in(workspace) -> None:
    head = 'kind = "classify"\n[outputs.kind]\nlabels = ["pump", "hose"]\n[outputs.urgency]\nlabels = ["low", "high"]\n'
    workspace.write("tasks/defects.toml", f'name = "defects"\n{head}')
    said = [{"kind": ["pump", "hose"][i % 2], "urgency": ["low", "high", "low"][i % 3]} for i in range(60)]
    chats = [{"messages": [{"role": "user", "content": text(i)}, {"role": "assistant", "content": json.dumps(one)}]}
             for i, one in enumerate(said)]  # fmt: skip
    file = workspace.write("a.jsonl", "".join(json.dumps(chat) + "\n" for chat in chats))
    await workspace.collect("defects", file)
    assert {row.input: row.target for row in await workspace.rows("defects")} == {
        text(i): one for i, one in enumerate(said)
    }
    schema = '[schema]\ntype = "object"\nrequired = ["total"]\n[schema.properties.total]\ntype = "number"\n'
    workspace.write("tasks/bills.toml", f'name = "bills"\nkind = "extract"\n{schema}')
    done = await workspace.collect(
        "bills", workspace.write("b.csv", "input,total\n" + "".join(f"{text(i)},{i}.5\n" for i in range(20)))
    )
    assert done.rows.kept == 20
    assert (await workspace.rows("bills"))[0].target["total"] % 1 == 0.5


async def test_a_cancelled_collect_stops_at_once_and_leaves_nothing(workspace) -> None:
    workspace.task("tickets", *LABELS)
    file = workspace.write("a.csv", table(range(5000)) + "x,\n")
    heard: list[str] = []

    async def collecting() -> None:
        task = asyncio.current_task()

        def progress(what: str, done: int, total: int) -> None:
            heard.append(what)
            task.cancel()

        await workspace.collect("tickets", file, progress=progress)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(collecting())
    assert len(heard) == 1
    assert await workspace.dataset("tickets") is None
    assert not workspace.leftovers()


async def test_two_at_once_would_lose_rows_so_the_second_is_told_to_wait(workspace) -> None:
    first = workspace.write("a.csv", table(range(300)))
    second = workspace.write("b.csv", table(range(300, 600)))
    said: list[Exception] = []

    def another() -> None:
        try:
            asyncio.run(workspace.collect("tickets", second, input="text", targets=("label",)))
        except Conflict as error:
            said.append(error)

    def meanwhile(*_: object) -> None:
        if not said:
            thread = threading.Thread(target=another)
            thread.start()
            thread.join()

    await workspace.collect("tickets", first, progress=meanwhile, input="text", targets=("label",))
    assert "insource collect tickets is running already" in str(said[0])
    assert said[0].hint == "wait for it to end, then run the same again"
    await workspace.collect("tickets", second, input="text", targets=("label",))
    assert len(await workspace.rows("tickets")) == 600


async def test_what_can_be_read_only_once_is_refused_and_not_waited_for(workspace) -> None:
    os.mkfifo(workspace.root / "pipe")
    for path in (workspace.root / "pipe", Path("/dev/zero")):
        with pytest.raises(Invalid, match="no regular file"):
            await workspace.collect("tickets", path, input="text", targets=("label",))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here to stand for a full disk")
def test_a_full_disk_is_a_store_error_that_says_so(tmp_path: Path) -> None:
    from insource.collect.read import Raw

    (tmp_path / ".rejects.part").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="No space left") as caught, Rejects(tmp_path) as rejects:
        for i in range(10_000):
            rejects.add("a.csv", Raw(i, {}, "", "x" * 100), "bad: row")
    assert "free some space" in caught.value.hint
    assert not (tmp_path / ".rejects.part").exists()


async def test_banking77_keeps_its_official_splits(workspace, shared) -> None:
    folder = shared / "banking77"
    wish = {"input": "text", "targets": ("category",)}
    some = list(csv.reader((folder / "train.csv").open(newline="")))
    part = workspace.root / "train.csv"
    with part.open("w", newline="") as file:
        csv.writer(file).writerows([some[0], *some[1::20]])
    first = await workspace.collect("banking", part, split="train", **wish)
    second = await workspace.collect("banking", folder / "test.csv", split="test", **wish)
    assert first.rows.rejected == second.rows.rejected == 0
    assert second.splits == {"train": 451, "dev": 50, "test": 3080}
    assert second.verdict == "ready with care"
    assert (workspace.root / second.page).stat().st_size < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "file", "wish", "read"),
    [
        ("excavator_mwo", "case_study_pdl.csv", {"input": "OriginalShorttext", "targets": ("FuncLocation",)}, 5485),
        ("naics2012", "index.csv", {"input": "text", "targets": ("code",)}, 19253),
        ("banking77", "train.csv", {"input": "text", "targets": ("category",)}, 10003),
    ],
)
async def test_real_sets_are_read_whole_and_split_evenly(workspace, shared, folder, file, wish, read) -> None:
    done = await workspace.collect("real", shared / folder / file, **wish)
    assert done.rows.read == read
    assert done.rows.rejected == 0
    assert abs(done.splits["test"] / sum(done.splits.values()) - 0.1) < 0.01


@pytest.mark.slow
def test_labels_changed_at_random_in_banking77_are_mostly_found(shared: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - a test that repeats
    with (shared / "banking77" / "train.csv").open(newline="") as file:
        given = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    labels = sorted({label for _, label in given})
    changed = {text: chance.choice(labels) for text, _ in given if chance.random() < 0.05}
    rows = [{"intent": changed.get(text, label)} for text, label in given]
    task = Task(name="t", kind="classify", outputs=(Output(name="intent", labels=tuple(labels)),))
    examples = [
        Example(id=Example.identity("t", text, target), task="t", input=text, target=target, split="train")
        for (text, _), target in zip(given, rows, strict=True)
    ]
    [found] = suspicions(task, with_groups(examples))
    wrong = {text for text, label in given if changed.get(text, label) != label}
    hits = sum(one.input in wrong for one in found.suspects)
    assert hits / len(found.suspects) > 0.7
    assert hits / len(wrong) > 0.6
