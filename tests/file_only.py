"""Tests that are about the file that SQLite keeps, by a part of their name, and why another database has none of it.

What they show of a server is in store/test_postgres.py and store/test_every_form.py.
"""

FORMS = "what former versions wrote is in files"
OPENED = "the tamperer opens the file"
COPIED = "its workspace is a copy of a folder, and a schema here is named after the folder"
OUTAGE = "the store is down because its file is locked, gone or full"
ORDER = "one process has two chains on a server: one for calls, one for the rest"

FILE_ONLY = {
    "store/test_group.py": "the write-ahead log, and its syncs",
    "store/test_group_ends.py": "the same",
    "store/test_store_faults.py": "a file that is damaged, locked, full or gone",
    "store/test_migrations.py": FORMS,
    "store/test_every_form.py": "it goes to a server by itself",
    "from_before": FORMS,
    "store/test_store_keys.py::test_a_database_of_form_1": FORMS,
    "store/test_store.py::test_commits_are_synced": "a pragma",
    "store/test_backup.py::test_a_backup_taken_under_load": "it is restored as a file",
    "store/test_backup.py::test_a_present_state_is_moved": "it is restored as a file",
    "store/test_spool_recover.py::test_a_store_that_fails_in_the_middle": "a pragma",
    "journeys/test_batch.py::test_killed": "the process that is killed opens the file",
    "journeys/test_batch.py::test_a_store_that_fails": "a pragma",
    "journeys/test_audit.py::test_who_removes_more": OPENED,
    "journeys/test_audit.py::test_checkpoints_are_written": OPENED,
    "store/test_listings.py::test_a_database_without": FORMS,
    "release/test_bundle.py::test_it_answers_where": "there is no network to the server there",
    "govern/test_govern.py::test_the_same_state": "it is restored as a file",
    "journeys/test_backups.py": COPIED,
    "serve/test_verbs.py::test_store_backs_up": COPIED,
    "serve/test_verbs.py::test_serve_answers": COPIED,
    "serve/test_verbs.py::test_an_artefact": COPIED,
    "serve/test_stopping.py": OPENED,
    "serve/test_outage": OUTAGE,
    "serve/test_full_disk.py": OUTAGE,
    "serve/test_durable.py": OUTAGE,
    "serve/test_seeing.py::test_a_record_that_the_store": OUTAGE,
    "serve/test_traces.py::test_what_failed_says_so": OUTAGE,
    "store/test_spool_recover.py::test_calls_are_carried_in_once": ORDER,
}
