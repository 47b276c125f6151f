"""The checklist of a task on the governance page: for who may see the task, and only when it is asked for."""

from seated import seated


async def test_the_checklist_says_what_is_missing_and_is_not_looked_up_unasked(tmp_path):
    (tmp_path / "insource.toml").write_text("")
    async with seated(tmp_path) as place, place.seat() as web:
        plain = (await web.get("/console/governance")).text
        assert 'href="/console/governance?evidence=tickets#evidence"' in plain
        assert "Evidence for" not in plain
        text = (await web.get("/console/governance?evidence=tickets")).text
        assert "Evidence for tickets" in text and "Privacy impact assessment" in text
        assert "✗&nbsp;open" in text and "no slices are declared" in text


async def test_of_a_task_that_may_not_be_seen_nothing_is_told(tmp_path):
    (tmp_path / "insource.toml").write_text("")
    async with seated(tmp_path) as place:
        (tmp_path / "tasks" / "secret.toml").write_text('name = "secret"\nkind = "generate"\n')
        key = await place.key("op", "operator", scopes=("tickets",))
        async with place.seat(key) as web:
            assert "Evidence for" in (await web.get("/console/governance?evidence=tickets")).text
            for name in ("secret", "nothing", "../tickets", ""):
                found = await web.get("/console/governance", params={"evidence": name})
                assert found.status_code == 200 and "Evidence for" not in found.text
