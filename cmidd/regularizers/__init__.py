"""Terms that are added to any objective."""
