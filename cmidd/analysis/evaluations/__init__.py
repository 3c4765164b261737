"""Sets on networks: what `cmidd evaluate` measures, one table beside the sets."""
