"""Rows in: read, map, check, group, split. What it cannot use it names and sets aside; nothing is dropped in silence.

Knows nothing of models. The pieces are pure once a file is read; `journeys/collect.py` puts them in order.
"""
