"""What a user does, one file a command; each has a ``main`` that ``scripts/<name>.py`` calls."""
