"""The commands, one file for each thing that a user does; each has a ``main`` that ``scripts/<name>.py`` calls."""
