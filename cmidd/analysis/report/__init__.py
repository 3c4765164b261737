"""One page of all runs, with its scripts and styles."""
