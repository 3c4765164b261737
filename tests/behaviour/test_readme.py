"""What the README shows works as written."""

import re
from pathlib import Path

import torch

from cmidd.data.load import load_dataset
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_python_example_runs_as_written(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (path,) = re.findall(r'load_synthetic\("(.*?)"\)', code)
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 2, Streams(0)("init"))
    synthetic.syn_lr = torch.tensor(0.02)
    synthetic.save(tmp_path / path)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code, names)
    assert names["prediction"].shape == (1,)


def test_every_setting_in_the_readme_exists():
    configs = Path(__file__).parents[2] / "configs"
    for group, values in re.findall(r"^\| `(method|dataset)` \| (.*) \|$", README, re.MULTILINE):
        listed = set(re.findall(r"`(\w+)`", values))
        assert listed == {path.stem for path in (configs / group).glob("*.yaml")}
