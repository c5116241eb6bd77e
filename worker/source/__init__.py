"""Decides whose rows are whose: which source a stream is, or was, and whose rows without a source are."""

from worker.source.moved import refuse_what_others_executed
from worker.source.registration import Registration
from worker.source.unsourced import answers_for, is_ours

__all__ = ["Registration", "answers_for", "is_ours", "refuse_what_others_executed"]
