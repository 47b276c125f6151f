"""From what may be said to what was said: output schema or labels to grammar and mask, and text back to a value.

Knows nothing of models, prompts' sources or releases; torch is not imported here.
"""
