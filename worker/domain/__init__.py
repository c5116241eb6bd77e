"""Holds the values of the flow: frozen, with the tree of errors and what several rooms need of others; no I/O."""
