"""Is this folder a model, and nothing but one? What the checks of single files (`sources_check`) cannot see.

A folder of strangers may hold an adapter that names other weights, an index that leads out of it, a pipe that is never
read to its end, code. What would be read is checked or refused; what is never read is said.
"""

from collections.abc import Iterable
from pathlib import Path

from insource.engines.sources_check import PICKLED, SAFE_INSTEAD, check_text, check_weights, read_json
from insource.engines.template import check_template, template_of
from insource.engines.tokenizer_check import check_tokenizer
from insource.errors import Invalid, Missing, Refused

READ = {".json", ".jinja", ".txt"}
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
NEEDED = ("config.json", "tokenizer.json")
ADAPTER = "adapter_config.json"
CODE = ("config.json", "tokenizer_config.json")


def check_model(folder: Path) -> list[str]:
    """Everything that loading the model would read, and its template and tokenizer on trial; says what is never run.

    Raises `Refused` (unsafe), `Missing` and `Invalid` (no model).
    """
    for name in weights_of(folder):
        check_weights(folder / name)
    for name in NEEDED:
        if not (folder / name).is_file():
            raise Missing(f"{folder} has no {name}", hint="a model's folder needs config.json and tokenizer.json")
    for path in beside(folder):
        check_text(path)
    for name in CODE:
        read_json(folder / name) if (folder / name).exists() else None
    check_tokenizer(folder / "tokenizer.json")
    check_template(template_of(folder))
    return notes(folder)


def beside(folder: Path) -> list[Path]:
    """The text files that loaders read, in order. Raises `Refused` for an adapter and for what is no file."""
    found = sorted(path for path in folder.iterdir() if path.suffix in READ)
    for path in found:
        if path.name == ADAPTER:
            words = f"{folder} is an adapter, which names the model to load itself"
            raise Refused(words, hint="name the base model; train makes adapters of its own")
        if not path.is_file():
            raise Refused(f"{path} is neither a file nor a link to one", hint="fetch the model again")
    return found


def weights_of(folder: Path) -> list[str]:
    """The safetensors of a folder: model.safetensors, or all parts that the index names. Raises as `check_model`."""
    if (folder / WHOLE).is_file():
        return [WHOLE]
    if (folder / INDEX).is_file():
        return _parts(folder)
    found = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLED | {".gguf"})
    ggufs = [name for name in found if name.lower().endswith(".gguf")]
    if ggufs:
        raise Invalid(f"{folder} holds {len(ggufs)} .gguf", hint=f"name the file: file:{folder / ggufs[0]}")
    if found:
        raise Refused(f"{folder} holds only {', '.join(found)}: such files can run code when loaded", hint=SAFE_INSTEAD)
    raise Missing(f"{folder} holds no model.safetensors", hint="file:PATH takes a .gguf file or a model's folder")


def strangers(folder: Path, known: Iterable[str], *, ours: bool) -> list[str]:
    """Files that came later and that loading would read; in a folder of `ours` every file that is not known."""
    names = set(known)
    found = [path for path in folder.iterdir() if path.name not in names]
    return sorted(path.name for path in found if ours or path.suffix in READ or path.name.startswith("model"))


def notes(folder: Path) -> list[str]:
    """What the folder asks for and does not get, in words."""
    said = []
    for name in CODE:
        asked = read_json(folder / name).get("auto_map") if (folder / name).exists() else None
        if asked:
            said.append(f"{name} names code of its own (auto_map): it is not fetched and never run")
    code = sorted(path.name for path in folder.iterdir() if path.suffix == ".py" or path.suffix.lower() in PICKLED)
    if code:
        said.append(f"never read: {', '.join(code)}")
    return said


def _parts(folder: Path) -> list[str]:
    table = read_json(folder / INDEX).get("weight_map")
    names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    out = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if out:
        raise Refused(f"{INDEX} names {out[0]!r}, which is no safetensors file of this folder", hint="do not use it")
    absent = [name for name in names if not (folder / name).is_file()]
    if absent or not names:
        raise Missing(f"{folder} lacks {', '.join(absent) or 'the weights'} named in {INDEX}", hint="fetch it again")
    return names
