"""Make a workspace: the settings with every section explained, and the folders that hold tasks and labels."""

from pathlib import Path

from insource.errors import Conflict, Invalid
from insource.settings import CONFIG, STATE
from insource.store.files import write_whole

SETTINGS = """\
# The settings of this workspace. Everything is optional; what stands behind # is the default or an example.
# Keys, one by one: docs/reference/settings.md. A key that does not exist is an error.

[workspace]
# base = "smollm2-135m"                   # the model that train starts from; insource models list names others
# threads = 0                             # CPU threads; 0 takes all cores
# share_base = false                      # true: specialists of one base share it in memory, and need it to answer

# Where insource keeps rows, releases and records. Without a url: SQLite in .insource/, nothing to install.
# [store]
# url = ""

# The gateway: insource serve
# [serve]
# host = "127.0.0.1"                      # 0.0.0.0 lets other machines in
# port = 8080
# queue = 512                             # calls that may wait; one more gets 429
# max_body_bytes = 4000000

# Engines elsewhere: candidates to measure, and help for what a specialist is unsure of.
# [engines.tier2]
# kind = "openai"                         # any server with the OpenAI API; "vllm", "ollama", "anthropic", … are known
# base_url = "http://gpu-1:8000/v1"
# model = "qwen2.5-7b-instruct"
# api_key_env = "TIER2_KEY"               # the variable that holds the key; never the key itself
# region = "premises"                     # where the data goes; tasks say where theirs may go
# timeout_s = 60
# retries = 1                             # how often an answer that breaks the contract is asked for again
# usd_per_million_input = 0.0
# usd_per_million_output = 0.0

# Where connections of a region may go: networks, and for regions elsewhere names too. Without it the premises are
# this machine and the private networks.
# [networks]
# premises = ["10.20.0.0/16"]
# eu = ["llm.example.com"]
"""
IGNORE = f"{STATE}/\n"


def init(root: Path, more: str = "") -> list[str]:
    """Writes the files of a workspace into `root` and returns their names; `more` are settings to begin with, as TOML.

    Raises `Conflict` when there is one, `Invalid` when `root` is a file, `StoreError` when it cannot be written.
    """
    if (root / CONFIG).exists():
        raise Conflict(f"{root} is a workspace already: it has {CONFIG}", hint="insource status shows where it stands")
    if root.exists() and not root.is_dir():
        raise Invalid(f"{root} is a file, not a folder", hint="insource init DIR")
    made = ["tasks/", "labels/"]
    for name in made:
        write_whole(root / name / ".gitkeep", "")
    if _ignore(root):
        made.append(".gitignore")
    write_whole(root / CONFIG, SETTINGS + more)
    return [CONFIG, *made]


def _ignore(root: Path) -> bool:
    """Adds the state folder to .gitignore unless it stands there; True when the file changed."""
    path = root / ".gitignore"
    before = path.read_text("utf-8") if path.is_file() else ""
    if STATE in {line.strip().strip("/") for line in before.splitlines()}:
        return False
    write_whole(path, before + ("" if not before or before.endswith("\n") else "\n") + IGNORE)
    return True
