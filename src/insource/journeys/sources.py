"""Files of any form to rows of one task: tables by their columns, logs of a model by what each call says.

Without a task file the task is made: from the columns that the user names, or from what most of the answers are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from insource.collect.calls import Call
from insource.collect.columns import Wish
from insource.collect.draft import draft, named
from insource.collect.forms import FORMS, TABLE, TUNE, all_calls, form_of, told
from insource.collect.infer import infer
from insource.collect.intake import split_name
from insource.collect.private import Private
from insource.collect.prompts import Prompt, chosen
from insource.collect.read import read
from insource.collect.rejects import Rejects
from insource.collect.take import Care, Taken, take_file
from insource.collect.take_calls import Answered, Fact, take_calls
from insource.errors import Invalid, Missing
from insource.journeys.lineup import Progress
from insource.nouns import Task
from insource.settings import Settings, load_task

Files = list[tuple[Path, str]]


class Gathered(NamedTuple):
    """What the files gave. `care` is there where rows are cleaned; `others` are prompts whose calls were left out."""

    task: Task
    made: bool
    taken: list[Taken]
    care: Care | None
    facts: tuple[Fact, ...]
    prompt: Prompt | None
    others: list[Prompt]

    @property
    def elsewhere(self) -> int:
        """How many calls were left out because they were told something else."""
        return sum(prompt.rows for prompt in self.others)


def forms(name: str, files: Sequence[Path], settings: Settings, wish: Wish) -> Files:
    """Each file with its form. A fine-tuning file is a table of chats where its task is written and it tells nothing.

    Raises `Invalid` for a form that is not known, `Missing` or `Invalid` for a file that cannot be read.
    """
    if not files:
        raise Invalid("there is no file to collect", hint=f"insource collect {name} FILE")
    if wish.split:
        split_name(wish.split)
    if wish.form and wish.form not in (TABLE, *FORMS):
        raise Invalid(f"no form is called {wish.form[:80]!r}", hint=f"--format {', '.join((TABLE, *FORMS))}")
    columns = bool(wish.input or wish.targets or wish.tags)
    known = (settings.root / "tasks" / f"{name}.toml").is_file()
    found = []
    for path in files:
        form = wish.form or (TABLE if columns else form_of(path))
        plain = form == TUNE and known and not wish.form and not wish.prompt and not told(path)
        found.append((path, TABLE if plain else form))
    if len({path.name for path, form in found if form != TABLE}) < sum(form != TABLE for _, form in found):
        raise Invalid("two of the files have the same name", hint="name them apart: rows are told by their file")
    return found


def gather(
    name: str, files: Files, settings: Settings, wish: Wish, parts: tuple[Rejects, bytes], progress: Progress
) -> Gathered:
    """The rows of all files. `parts` are where useless rows go, and the key under which placeholders are numbered."""
    rejects, key = parts
    tables = [path for path, form in files if form == TABLE]
    logs = [(path, form) for path, form in files if form != TABLE]
    of_a_model = any(FORMS[form].of_a_model for _, form in logs)
    cleans = of_a_model if wish.clean is None else wish.clean
    calls = all_calls(logs) if logs else []
    known = _known(name, tables, settings, wish, made_of_calls=bool(logs))
    calls, prompt, others = chosen(calls, wish.prompt, known.instruction if known else "")
    task, made = (known, False) if known else _made(name, tables, calls, prompt, wish)
    private = Private(key, personal=cleans, terms=task.scan.own_terms) if logs or cleans else None
    care = Care(private, []) if cleans and private else None
    taken = [take_file(task, path, wish, rejects, care=care, progress=progress) for path in tables]
    said = Answered(taken=(), strays=(), facts=())
    if logs and private:
        task = msgspec.structs.replace(task, instruction=private.text(task.instruction)) if made else task
        split = split_name(wish.split) if wish.split else ""
        said = take_calls(task, calls, logs, (rejects, private), split=split, progress=progress)
    if not cleans:
        for stray in said.strays:
            rejects.stray(stray)
    elif care:
        care.strays.extend(said.strays)
    return Gathered(task, made, [*taken, *said.taken], care, said.facts, prompt, others)


def _known(name: str, tables: Sequence[Path], settings: Settings, wish: Wish, *, made_of_calls: bool) -> Task | None:
    """The task of the workspace; None where it is to be made. Raises `Missing` where it cannot be made."""
    if (settings.root / "tasks" / f"{name}.toml").is_file():
        return load_task(settings, name)
    if made_of_calls or (tables and wish.input and wish.targets):
        named(name)
        return None
    try:
        return load_task(settings, name)
    except Missing as error:
        making = "--input COL --target COL make it from the data"
        raise Missing(str(error), hint=f"{error.hint}; {making}") from error


def _made(
    name: str, tables: Sequence[Path], calls: Sequence[Call], prompt: Prompt | None, wish: Wish
) -> tuple[Task, bool]:
    if not calls:
        return draft(name, ((str(path), read(path, wanted=wish.named)) for path in tables), wish), True
    good = [call for call in calls if not call.fault]
    answers = [call.corrected if call.word == "wrong" else call.answer for call in good]
    return infer(name, answers, prompt.text if prompt else ""), True
