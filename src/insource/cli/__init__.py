"""The terminal door: one small file per verb."""
