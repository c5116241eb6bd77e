"""Replicas, both servers and their connections fail at random moments, all through a long run of orders."""
