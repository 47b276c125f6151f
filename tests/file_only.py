"""Tests that are about the file that SQLite keeps, by a part of their name, and why another database has none of it."""

FILE_ONLY = {
    "store/test_group.py": "the write-ahead log, and its syncs",
    "store/test_store_faults.py": "a file that is damaged, locked, full or gone",
}
