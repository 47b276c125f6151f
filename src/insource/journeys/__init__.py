"""The stories: each one file, read top to bottom. Here the rooms below meet."""
