"""The worker with traces of a share of its orders: python -m benchmarks.designs.followed URL SHARE run."""

import os
import sys

from worker.__main__ import main

if __name__ == "__main__":
    url, share = sys.argv[1:3]
    os.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": share,
    }
    del sys.argv[1:3]
    main()
