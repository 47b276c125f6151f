"""What must not pass: personal data, secrets, the owner's own terms, control tokens; found, judged, replaced.

Knows nothing of tasks, engines or the store. A pass over a text takes time in proportion to its length,
and gives the same result however the text is cut into pieces.
"""
