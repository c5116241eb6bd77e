"""How fast the worker is beside what one would otherwise write or install: `python -m benchmarks`."""
