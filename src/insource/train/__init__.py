"""Recipe and rows → a specialist: an adapter, the merged weights, and a confidence fitted on the dev split."""
