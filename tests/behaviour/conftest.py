"""A fixture of several files."""

from tests.support.data_files import synthetic_file as synthetic_file
