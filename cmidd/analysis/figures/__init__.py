"""The figures of the paper and a movie, from records and sets."""
