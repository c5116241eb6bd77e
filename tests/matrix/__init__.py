"""Runs the suites over ways to connect and pairs of versions, and writes the page of what came of it.

`make matrix` runs all that this machine can, `python -m tests.matrix --page` writes the page alone.
"""
