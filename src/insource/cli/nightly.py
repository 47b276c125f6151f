"""`insource nightly`: what is due once a day."""

import click

from insource.cli.door import Door, verb
from insource.cli.stored import with_store
from insource.cli.words import dim, mark
from insource.journeys.nightly import Job, Night, nightly
from insource.serve.log import log_as_json

EXAMPLE = """
\b
Examples:
  insource nightly
  0 3 * * *  insource -C /srv/plant nightly       a line of crontab
"""
DOWN, NO = 4, 1


@verb("nightly", epilog=EXAMPLE)
def command(door: Door) -> None:
    """Do what is due: recover, retention, checkpoint, audit; rollout, watch and promise of each task; backup, alerts.

    Safe to run twice, beside a running gateway, and to kill: each job looks at what is there and does what is missing.
    One that fails stops no other. Ends with 1 when the audit chain is not whole, with 4 when another job failed.
    """
    if door.settings().observe.log_json:
        log_as_json()
    night = with_store(door, nightly)
    door.show(night, _words(night))
    if night.failed:
        audit = any(job.name == "audit" for job in night.failed)
        click.get_current_context().exit(NO if audit else DOWN)


def _words(night: Night) -> str:
    return "\n".join(_line(job) for job in night.jobs)


def _line(job: Job) -> str:
    name = f"{job.task} {job.name}" if job.task else job.name
    if job.state == "nothing to do":
        return dim(f"· {name}: {job.words}")
    line = mark(job.state == "done", f"{name}: {job.words}")
    return f"{line}\n  next: {job.next}" if job.next and job.state != "done" else line
