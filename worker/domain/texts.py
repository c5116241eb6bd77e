"""How a text of others is shown: nothing in it moves a terminal."""

# What stands in the place of a value that people are not shown.
HIDDEN = "(hidden)"


def escaped(text: str) -> str:
    """Return a text without what a terminal would obey or take for the end of a line."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
