"""Holds the values of the flow: frozen, with the error tree and what several rooms need of others; no I/O."""
