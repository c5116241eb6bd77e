"""Puts everything together: the only room that knows all concrete types, and how each command begins.

One file for each command that needs composing, one for a replica, one for the commands that need a line or
two; what they share is in parts/. Each file is imported for itself, since a replica needs little of what the
commands need.
"""
