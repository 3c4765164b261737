"""The quickstart notebook runs from a fresh folder, cell after cell, and comes to what it says."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.refusals import ROOT

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
MOST_BYTES = 100_000


def test_the_notebook_is_valid_and_small():
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))
    assert NOTEBOOK.stat().st_size < MOST_BYTES


@pytest.mark.ci
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    said = "".join(output.get("text", "") for output in outputs)
    assert "distilled: [" in said
    share = float(said.split(" per cent of ")[0].split()[-1])
    assert share > 60
