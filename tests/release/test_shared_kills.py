"""Pushes and pulls that are killed, raced, or lose their server or their disk: nothing half is seen, and it goes on."""

import json
import os
import random
import shutil
import signal
import time

import pytest
from sharing import files, host, many

from buckets import BUCKET, KEYS, Server, settings_of
from command_line import started
from insource.release import shared
from insource.settings import Settings
from insource.store.place import ARTEFACTS, key_of


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["push", "pull"])
def test_killed_anywhere_the_same_command_goes_on_and_nothing_half_is_seen(hosts, server, verb):
    ours, theirs = hosts
    release = many(ours)
    place_of_ours = ours.artefacts.prefix
    home = ours if verb == "push" else theirs
    if verb == "pull":
        assert json.loads(finished(ours, "push"))["releases"] == 1
    began = time.monotonic()
    finished(home, verb, "--json", again=True)
    whole_s = time.monotonic() - began
    for turn in range(10):
        emptied(theirs, server, place_of_ours, verb)
        process = started(home.root, "store", verb, start_new_session=True)
        time.sleep(whole_s * random.Random(turn).uniform(0.3, 1.0))  # noqa: S311 - no secret
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if verb == "pull":
            folder = theirs.state / release.folder
            assert not folder.exists() or files(folder) == files(ours.state / release.folder)
        else:
            keys = {one["Key"].removeprefix(place_of_ours): one["Size"] for one in listed(server, place_of_ours)}
            if key_of(ARTEFACTS, release.artefact) in keys:
                assert len([key for key in keys if key.startswith(ARTEFACTS)]) == 41
        assert json.loads(finished(home, verb))["releases"] == 1
    assert json.loads(finished(theirs, "pull"))["releases"] == 1
    assert files(theirs.state / release.folder) == files(ours.state / release.folder)
    assert not list((theirs.state / shared.FETCHING).glob("*"))


def finished(settings: Settings, verb: str, *words: str, again: bool = False) -> str:
    process = started(settings.root, "store", verb, "--json")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in out + err
    return out


def listed(server: Server, prefix: str) -> list[dict]:
    return server.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])


def emptied(theirs: Settings, server: Server, prefix: str, verb: str) -> None:
    if verb == "pull":
        shutil.rmtree(theirs.state / "releases", ignore_errors=True)
        return
    if keys := [{"Key": one["Key"]} for one in listed(server, prefix)]:
        server.client().delete_objects(Bucket=BUCKET, Delete={"Objects": keys})


@pytest.mark.slow
def test_processes_that_fetch_at_once_fetch_once_and_a_full_disk_is_said(hosts, server):
    import resource
    from functools import partial

    ours, theirs = hosts
    release = many(ours)
    finished(ours, "push")
    limit = {"preexec_fn": partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))}
    process = started(theirs.root, "store", "pull", **limit)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 4
    assert "free some space" in err
    assert not (theirs.state / release.folder).exists()
    four = [started(theirs.root, "release", "verify", release.name) for _ in range(4)]
    for one in four:
        out, err = one.communicate(timeout=120)
        assert one.returncode == 0, out + err
    assert files(theirs.state / release.folder) == files(ours.state / release.folder)


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_is_said_and_the_same_command_goes_on(hosts, tmp_path):
    mortal = Server()
    try:
        mortal.client()
        text = settings_of(mortal.url, "mortal")
        ours, theirs = host(tmp_path / "c", text), None
        theirs = host(tmp_path / "d", text, ours.root)
        release = many(ours)
        process = started(ours.root, "store", "push")
        for _ in range(600):
            if len(listed(mortal, "mortal")) > 3 or process.poll() is not None:
                break
            time.sleep(0.02)
        mortal.stop()
        _, _err = process.communicate(timeout=180)
        assert process.returncode in (0, 4)  # 0: it was quicker
        mortal.start()
        mortal.client()
        assert json.loads(finished(ours, "push"))["releases"] == 1
        assert json.loads(finished(theirs, "pull"))["releases"] == 1
        assert files(theirs.state / release.folder) == files(ours.state / release.folder)
    finally:
        mortal.stop()
