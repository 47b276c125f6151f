"""Documents with evidence: facts in, files out, the same facts always to the same bytes. Reads nothing by itself."""
