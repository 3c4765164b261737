"""The one exception that a user is meant to read: it becomes a single line and exit code 2."""


class SettingError(ValueError):
    """A setting, file or environment that a run cannot work with.

    The message is one line: what was given, what was expected, and the way out.
    """
