"""Releases, their stages and their gates in SQL. A stage changes only together with the note of who and why."""

import msgspec
from sqlalchemy import Connection, select, update

from insource.errors import Conflict, Missing
from insource.nouns import Gate, Release, StageChange, Tightening, to_json
from insource.store import links
from insource.store.bulk import driver
from insource.store.stored import stored
from insource.store.tables import GATE, RELEASE, STAGE_CHANGE, TIGHTENING

ON_TRIAL = ("shadow", "canary")
NAMED = 10


def add_release(connection: Connection, release: Release) -> None:
    """Registers a release. Raises `Conflict` when its name is taken."""
    if connection.execute(select(RELEASE.c.seq).where(RELEASE.c.name == release.name)).first():
        raise Conflict(f"{release.name} exists already", hint="a release never changes; make the next version")
    connection.execute(
        RELEASE.insert().values(
            name=release.name, task=release.task, stage=release.stage, body=to_json(release).decode()
        )
    )


def releases(connection: Connection, task: str) -> list[Release]:
    """The task's releases, oldest first."""
    found = connection.execute(select(RELEASE.c.body).where(RELEASE.c.task == task).order_by(RELEASE.c.seq))
    return [stored(body, Release) for body in found.scalars()]


def release(connection: Connection, name: str) -> Release:
    """The release called `name` (task@version). Raises `Missing` with the versions there are."""
    body = connection.execute(select(RELEASE.c.body).where(RELEASE.c.name == name)).scalar()
    if body is not None:
        return stored(body, Release)
    task = name.partition("@")[0]
    newest = select(RELEASE.c.name).where(RELEASE.c.task == task).order_by(RELEASE.c.seq.desc()).limit(NAMED + 1)
    known = list(connection.execute(newest).scalars())
    before = " and earlier ones" if len(known) > NAMED else ""
    hint = f"there are {', '.join(known[:NAMED][::-1])}{before}" if known else f"insource train {task} makes one"
    raise Missing(f"there is no release {name}", hint=hint)


def live(connection: Connection, task: str) -> Release | None:
    """The release that answers the task's traffic."""
    found = select(RELEASE.c.body).where(RELEASE.c.task == task, RELEASE.c.stage == "live")
    body = connection.execute(found.order_by(RELEASE.c.seq.desc()).limit(1)).scalar()
    return stored(body, Release) if body else None


def on_trial(connection: Connection, task: str) -> Release | None:
    """The release of the task that is tried beside the live one."""
    found = select(RELEASE.c.body).where(RELEASE.c.task == task, RELEASE.c.stage.in_(ON_TRIAL))
    body = connection.execute(found.order_by(RELEASE.c.seq.desc()).limit(1)).scalar()
    return stored(body, Release) if body else None


def change_stage(connection: Connection, change: StageChange, retire: str) -> None:
    """Sets the stage, retires the other release and notes the change, all or nothing.

    Raises `Missing` for an unknown release, `Conflict` when its stage is no longer `change.before`, when another
    release is live that `retire` does not name, or when another is on trial.
    """
    changed = release(connection, change.release)
    if changed.stage != change.before:
        raise Conflict(
            f"{change.release} is {changed.stage}, not {change.before}", hint="someone changed it meanwhile: look again"
        )
    other = live(connection, changed.task)
    if change.after == "live" and other is not None and other.name not in (retire, change.release):
        raise Conflict(f"{other.name} went live meanwhile", hint="look again: insource release list")
    tried = on_trial(connection, changed.task)
    if change.after in ON_TRIAL and tried is not None and tried.name != change.release:
        hint = f"insource release promote {tried.name} --to candidate takes it out"
        raise Conflict(f"{tried.name} is on trial, and one is at a time", hint=hint)
    _set_stage(connection, changed, change)
    if retire and retire != change.release:
        left = release(connection, retire)
        _set_stage(connection, left, msgspec.structs.replace(change, after="retired", who="", share=0))
    body = to_json(change).decode()
    noted = STAGE_CHANGE.insert().values(release=change.release, task=changed.task, body=body)
    seq = connection.execute(noted.returning(STAGE_CHANGE.c.seq)).scalar_one()
    links.enter(driver(connection), [("stage", seq, body)])


def stage_changes(connection: Connection, task: str) -> list[StageChange]:
    """Every change of stage of the task's releases, oldest first."""
    found = select(STAGE_CHANGE.c.body).where(STAGE_CHANGE.c.task == task).order_by(STAGE_CHANGE.c.seq)
    return [stored(body, StageChange) for body in connection.execute(found).scalars()]


def save_gate(connection: Connection, gate: Gate) -> None:
    """Keeps a gate's answer."""
    connection.execute(GATE.insert().values(release=gate.release, body=to_json(gate).decode()))


def gates(connection: Connection, release_name: str) -> list[Gate]:
    """Every gate the release went through, oldest first."""
    found = select(GATE.c.body).where(GATE.c.release == release_name).order_by(GATE.c.seq)
    return [stored(body, Gate) for body in connection.execute(found).scalars()]


def tighten(connection: Connection, made: Tightening) -> None:
    """Notes that more confidence is demanded of a release. Raises `Conflict` unless it is more than before."""
    now = tightened(connection, made.release)
    if made.threshold <= max(made.before, now.threshold if now and now.max_error == made.max_error else 0.0):
        raise Conflict(f"{made.release}: a confidence of {made.threshold:g} is no more than is demanded")
    body = to_json(made).decode()
    noted = TIGHTENING.insert().values(release=made.release, body=body).returning(TIGHTENING.c.seq)
    links.enter(driver(connection), [("tightening", connection.execute(noted).scalar_one(), body)])


def tightened(connection: Connection, release_name: str) -> Tightening | None:
    """What is demanded of a release beyond what it was fitted to: the newest word on it."""
    found = select(TIGHTENING.c.body).where(TIGHTENING.c.release == release_name)
    body = connection.execute(found.order_by(TIGHTENING.c.seq.desc()).limit(1)).scalar()
    return stored(body, Tightening) if body else None


def _set_stage(connection: Connection, found: Release, change: StageChange) -> None:
    approved = change.who if change.after == "live" else found.approved_by
    now = msgspec.structs.replace(found, stage=change.after, share=change.share, approved_by=approved)
    connection.execute(
        update(RELEASE).where(RELEASE.c.name == found.name).values(stage=change.after, body=to_json(now).decode())
    )
