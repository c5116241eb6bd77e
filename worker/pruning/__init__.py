"""Decides which rows may go: those of orders that nobody can send, deliver or ask about any more."""

from worker.pruning.archive import Archive
from worker.pruning.own_turn import OwnTurn
from worker.pruning.prune import Prune

__all__ = ["Archive", "OwnTurn", "Prune"]
