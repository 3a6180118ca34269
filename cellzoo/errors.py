"""What a user did that cellzoo cannot go on from, said in one sentence."""

import re
import unicodedata

# Control characters, parts of broken characters, and line and paragraph separators.
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # of the text's direction


def printable(text: str) -> str:
    r"""A text in which what is not seen is written out, as ``\x1b``: names may steer a terminal."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _UNSEEN or character in _TURNING
        else character
        for character in text
    )


def without_graph(message: str) -> str:
    """What TensorFlow says, without an account of where in a graph, or in Python, that is."""
    message = message.partition("<stack traces unavailable>\n")[2] or message
    message = re.sub(r"\s*\[(Op:|\[\{\{).*", "", message, flags=re.DOTALL)
    return re.sub(r"^\{\{function_node [^}]*\}\} ", "", message).strip()


class UserError(Exception):
    """A user's data cannot be used: one sentence that names the file or key and the cure."""

    exit_code = 1

    def __str__(self) -> str:
        """The sentence, of which no part steers a terminal."""
        return printable(super().__str__())


class UsageError(UserError):
    """A command or recipe is written wrongly: one sentence that names the key and the cure."""

    exit_code = 2
