"""What the report of a sweep proposes next."""

from pathlib import Path

import pytest

from cmidd.cli.journal import report


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("sets", "proposed"),
    [
        (["cifar10", "svhn"], "table.py table=table1"),
        (["fashion_mnist"], "table.py table=fashion_mnist"),
        (["fashion_mnist", "cifar10"], "table.py table=baselines"),
        (["digits", "cifar10"], "report.py"),
    ],
)
def test_the_table_is_the_papers_or_the_narrowest_however_the_folder_of_tables_is_listed(
    sets, proposed, backwards, monkeypatch
):
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda *of: iter(sorted(glob(*of), reverse=backwards)))
    done = {"state": "done", "words": [], "accuracy": 90.0, "seconds": 1.0, "results_root": "results"}
    assert report([{**done, "dataset": name} for name in sets], []).splitlines()[-1].endswith(proposed)
