"""Tables of runs and of scores, as text, Markdown and LaTeX."""
