"""What several compositions are made of.

Each file is imported for itself, since a replica needs little of what commands need.
"""
