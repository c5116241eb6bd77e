"""The composition root: the only room that knows all concrete types, and how each command begins.

Each file is imported for itself, since a replica needs little of what the commands need.
"""
