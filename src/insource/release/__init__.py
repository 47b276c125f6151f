"""Versions, gates and stages: what a release is called, whether it may answer traffic, and how it came to.

Everything here decides from values that were measured elsewhere; nothing here runs a model or opens the store.
"""
