"""Whatever bytes come in by stream, port, environment or dead letter get an answer of the contract alone.

The same cases are drawn in every run. What a failure prints runs its one case again:

    FUZZ_SEED=1 FUZZ_CASE=4711 pytest tests/faults/fuzz/test_decoder.py

CHAOS=1 draws ten times as many, from a new seed each time; FUZZ_SEED=n from that one.
"""
