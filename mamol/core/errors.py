"""The one exception that users see as a one-line message."""


class MamolError(ValueError):
    """A mistake in what the user gave: an option, a file, a table, a checkpoint.

    The message is one line that names the key or file, what was found, what is allowed and what to do.
    The command lines print it as ``error: <message>`` and exit with status 1; anything else is a bug and
    keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        """Takes the message; torch hands over that of a loading process within its traceback.

        Args:
            message: One line, or a traceback that ends with it.
        """
        super().__init__(_one_line(message.rpartition(f"\n{__name__}.{type(self).__name__}: ")[2]))


def _one_line(message: str) -> str:
    """A message without line ends, and with names of any file as they can be printed."""
    line = " ".join(filter(None, map(str.strip, message.splitlines())))
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
