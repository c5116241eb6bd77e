"""The way to Redis: connections by what REDIS_URL says, and what is wrong with it.

What is wrong is told apart by what the worker does about it.
"""
