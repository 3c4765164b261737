"""What the tests of behaviour share: a fixture of several files, and that coverage does not trace them.

They run whole commands, through lines that unit tests go through as well; tracing takes twice as long.
"""

from pathlib import Path

import pytest

from tests.support.data_files import synthetic_file as synthetic_file


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.no_cover)
