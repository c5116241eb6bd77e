"""Why there is no figure, or none that will do: a run that can't be trusted never ends in a number."""


class NoFigure(Exception):
    """A measurement can't be made, or what it made is wrong; the message says why."""


class Fallen(Exception):
    """A ratio is below what it was before by more than noise."""
