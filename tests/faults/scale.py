"""Whether everything is done at the size of `make chaos`, or at what fits into every run."""

import os

CHAOS = bool(os.environ.get("CHAOS"))
