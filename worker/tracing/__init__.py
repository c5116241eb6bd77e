"""Makes the spans of batches and orders, and sends them: nothing outside of it knows OpenTelemetry.

What is named here loads no library; `sending`, and `spans` with it, are loaded where traces are wanted.
"""

from worker.tracing.environment import Receiver, Unusable, receiver_in
from worker.tracing.sampling import Sampling

__all__ = ["Receiver", "Sampling", "Unusable", "receiver_in"]
