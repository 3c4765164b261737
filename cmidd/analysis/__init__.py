"""From records to the paper: results, the table, figures, the page, sets on other networks.

Imports runs and what is below.
"""
