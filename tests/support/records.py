"""Records and layouts of tables, as runs would leave them."""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
LAYOUT, CIFAR, FASHION, BASELINES = (
    yaml.safe_load((ROOT / "configs" / "command" / "table" / f"{name}.yaml").read_text())
    for name in ("table1", "cifar", "fashion_mnist", "baselines")
)


def record(folder, method, dataset, ipc, weight, seed, accuracies, **more):
    """A finished run as ``distill.py`` leaves it, as far as the table reads it."""
    path = folder / dataset / method / f"ipc{ipc}" / f"cmi{weight:g}" / f"seed{seed}" / "result.json"
    path.parent.mkdir(parents=True)
    settings = {
        "method": {"name": method},
        "dataset": {"name": dataset},
        "cmi": {"weight": weight},
        "ipc": ipc,
        "seed": seed,
        "evaluation": {"repeats": len(accuracies)},
        **more.pop("settings", {}),
    }
    last = {"iteration": 10, "accuracies": accuracies}
    path.write_text(json.dumps({"settings": settings, "last": last, "tested_on": "test", **more}))
    return path


def baseline(folder, kind, method, dataset, ipc, accuracies, changed=None, **more):
    """What ``baselines.py`` leaves, as far as the table reads it."""
    path = folder / dataset / "baselines" / f"{kind}_{method}_{ipc}_{len(accuracies)}.baseline.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"baseline": kind, "method": method, "dataset": dataset, "ipc": ipc, "accuracies": accuracies}
    path.write_text(json.dumps({**record, "tested_on": "test", "differs_from_recipe": changed or {}, **more}))
    return path
