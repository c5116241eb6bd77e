"""All that is known of both servers at one moment, what it means, and how people read it."""

from worker.status.conditions import Condition, judge
from worker.status.lines import facts_of, lines_of, sentence_of

__all__ = ["Condition", "facts_of", "judge", "lines_of", "sentence_of"]
