"""Whether traffic is still what a release was made for: windows of calls, what moved, and what to do about it."""
