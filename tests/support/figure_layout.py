"""A layout of a table."""

LAYOUT = {
    "columns": [{"dataset": "digits", "ipc": 10}],
    "groups": {"methods": {"DM": {"method": "dm"}, "DM+CMI": {"method": "dm", "cmi": True}}},
}
