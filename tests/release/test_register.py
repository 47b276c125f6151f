"""Versions and changelogs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insource.errors import Invalid
from insource.nouns import Dataset, Release, digest
from insource.release.register import changelog, next_version, parse_version


def release(version: str, dataset: str = "d" * 64, recipe: str = "r") -> Release:
    return Release(
        task="defects", version=version, engine="linear", base="linear", dataset=dataset, recipe=recipe,
        artefact="a" * 64, folder=f"releases/defects/{version}",
    )  # fmt: skip


def dataset(id: str, counts: dict[str, int], *files: tuple[str, str]) -> Dataset:
    lineage = tuple({"file": name, "sha256": sha} for name, sha in files)
    return Dataset(id=id * 64, task="defects", counts=counts, lineage=lineage)


def test_the_first_version_is_1_0_0():
    assert next_version([]) == "1.0.0"


@pytest.mark.parametrize(("bump", "after"), [("major", "2.0.0"), ("minor", "1.11.0"), ("patch", "1.10.1")])
def test_a_step_counts_from_the_highest_as_numbers_not_as_text(bump, after):
    assert next_version([release("1.10.0"), release("1.9.0"), release("1.2.7")], bump) == after


def test_a_version_whose_folder_is_there_is_taken_though_nobody_registered_it():
    assert next_version([], besides=["1.0.0"]) == "1.1.0"
    assert next_version([release("1.0.0")], besides=["1.0.0", "1.1.0", "notes", ".old"]) == "1.2.0"


def test_an_unknown_step_names_the_known_ones():
    with pytest.raises(Invalid, match="huge") as caught:
        next_version([release("1.0.0")], "huge")
    assert "major, minor, patch" in caught.value.hint


@pytest.mark.parametrize("text", ["1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.0\n", ""])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(Invalid):
        parse_version(text)


@given(st.lists(st.sampled_from(["major", "minor", "patch"]), min_size=1, max_size=20))
def test_each_version_is_higher_than_all_before(steps):
    made: list[Release] = []
    for step in steps:
        version = next_version(made, step)
        assert all(parse_version(version) > parse_version(r.version) for r in made)
        made.append(release(version))


def test_the_first_changelog_says_what_the_release_is_made_of():
    text = changelog(None, None, dataset("a", {"train": 4000, "dev": 500, "test": 500}))
    assert text == "first release, from dataset aaaaaaaaaaaa: 4,000 train, 500 dev, 500 test rows"


def test_a_changelog_counts_rows_and_names_new_files():
    before = dataset("a", {"train": 4000, "test": 500}, ("jan.csv", "1"))
    now = dataset("b", {"train": 4320, "test": 500}, ("jan.csv", "1"), ("feb.csv", "2"))
    text = changelog(release("1.0.0", dataset=before.id), before, now, note="urgency was mislabelled")
    assert "since defects@1.0.0:" in text
    assert "train 4,000 → 4,320 (+320)" in text
    assert "test 500 (same number)" in text
    assert "files added: feb.csv" in text
    assert "jan.csv" not in text
    assert text.endswith("- note: urgency was mislabelled")


def test_a_changelog_on_the_same_rows_says_so_and_what_the_recipe_is_now():
    now = dataset("a", {"train": 10})
    text = changelog(release("1.0.0", dataset=now.id), now, now, recipe={"epochs": 4})
    assert "rows: the same" in text
    assert "recipe: changed to epochs 4" in text
    same = changelog(release("1.0.0", dataset=now.id, recipe=digest({"epochs": 4})), now, now, recipe={"epochs": 4})
    assert "recipe: unchanged" in same


def test_a_changelog_survives_the_loss_of_the_rows_before():
    text = changelog(release("1.0.0", dataset="gone"), None, dataset("b", {"train": 10}))
    assert "those of defects@1.0.0 are gone" in text
