"""Data sets as plug-ins: a file defines ``read(root, download, *, <its settings>)``, which returns a ``Source``."""
