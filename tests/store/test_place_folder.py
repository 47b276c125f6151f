"""A shared folder whose server is away, and one in which others write and remove while it is looked through."""

import errno
import os
from pathlib import Path

import pytest
from test_place import DATA, written

from insource.errors import StoreError
from insource.store.place import PARTS, Folder


@pytest.fixture
def place(tmp_path):
    (tmp_path / "share").mkdir()
    return Folder(tmp_path / "share")


@pytest.mark.parametrize("below", [".", "artefacts"])
def test_a_server_that_lost_its_files_is_said(place, tmp_path, monkeypatch, below):
    key, file = written(tmp_path)
    place.put(key, file)
    lost, real = place.root / below, Path.stat

    def stale(self, **how):
        if self.is_relative_to(lost):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(self, **how)

    monkeypatch.setattr(Path, "stat", stale)
    for ask in (place.listed, lambda: place.put(key, file)):
        with pytest.raises(StoreError, match=os.strerror(errno.ESTALE)):
            ask()


def test_what_goes_while_it_is_listed_is_left_out(place, tmp_path, monkeypatch):
    stays, goes = written(tmp_path), written(tmp_path, b"a blob that nothing names any more")
    for key, file in (stays, goes):
        place.put(key, file)
    part = place.root / PARTS / "half"
    part.write_bytes(b"half")
    going, real = {part, place.root / goes[0]}, Path.glob

    def glob(self, pattern, **how):
        found = list(real(self, pattern, **how))
        for path in going.intersection(found):
            path.unlink()
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    assert place.listed() == {stays[0]: len(DATA)}
    assert not any(path.exists() for path in going)


def test_a_folder_in_the_place_of_a_file_is_none(place, tmp_path):
    key, _ = written(tmp_path)
    (place.root / key).mkdir(parents=True)
    assert place.listed() == {}
