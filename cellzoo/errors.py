"""What a user did that cellzoo cannot go on from, said in one sentence."""


class UserError(Exception):
    """A user's data cannot be used: one sentence that names the file or key and the cure."""

    exit_code = 1


class UsageError(UserError):
    """A command or recipe is written wrongly: one sentence that names the key and the cure."""

    exit_code = 2
