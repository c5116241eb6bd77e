"""Why there is no figure: a run that can't be trusted ends in one of these, never in a number."""


class NoFigure(Exception):
    """A measurement can't be made, or what it made is wrong; the message says why."""
