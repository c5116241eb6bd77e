"""Knows the ways to Redis that a URL names, and makes connections for each: for worker and clients alike.

It imports redis-py alone, and no other room.
"""
