"""cmidd as a library: distil, evaluate and load from Python, with the settings and the bits of the command line.

What these functions take are the settings of the command line: ``cmi.lambda=0.1`` there is ``cmi={"lambda": 0.1}``
here, and may be given as the word ``"cmi.lambda=0.1"`` as well.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from cmidd.analysis.evaluations.evaluate import measure, subjects
from cmidd.analysis.evaluations.settings import Request, read_evaluation
from cmidd.cli.admission import Admission, check_recipe
from cmidd.cli.compose import compose, compose_evaluation, composition, notes, say_notes
from cmidd.cli.old_words import as_of_a_run
from cmidd.cli.python_words import as_words
from cmidd.cli.run_log import run_log
from cmidd.compute.devices import pick_device
from cmidd.data import load
from cmidd.data.dataset import Dataset
from cmidd.runs.read_settings import read_settings
from cmidd.runs.record import RunRecord
from cmidd.runs.run import run
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.text import summary
from cmidd.utils.torch_defaults import torch_defaults

__all__ = ["Dataset", "Run", "SettingError", "SyntheticSet", "distill", "evaluate", "load_dataset", "load_synthetic"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where its files are.
        record: what ``result.json`` holds.
    """

    folder: Path
    record: RunRecord = field(repr=False)

    @cached_property
    def synthetic(self) -> SyntheticSet:
        """The distilled set, on the CPU."""
        return load_synthetic(self.folder)

    @property
    def accuracies(self) -> list[float]:
        """Of every network that was trained on the last iterate of the set, on the test set, in per cent."""
        return self.record.last["accuracies"]

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {summary(self.accuracies)} per cent on {self.record.tested_on})"


Evaluated = str | Path | Run | SyntheticSet


def distill(
    *words: str,
    method: str | Mapping[str, Any] | None = None,
    dataset: str | Mapping[str, Any] | None = None,
    ipc: int | None = None,
    seed: int | None = None,
    verbose: bool = True,
    **settings: Any,
) -> Run:
    """Distil a data set: what ``cmidd distill`` does, into the same folder, to the same bits.

    A run that was stopped, also by an interrupt of a notebook, goes on when it is called again; one that is finished is
    only read.

    Args:
        words: settings as they are typed on the command line, which win over the others.
        method: ``dm``, ``dc``, ``dsa``, ``mtt``, ``idm``, ``idc``, ``datm``, ``ncfm``,
            a plug-in, or ``{"name": "dm", "iterations": 100}``.
        dataset: ``digits``, ``cifar10``, ..., or likewise with settings.
        ipc: synthetic images per class.
        seed: of everything random.
        verbose: log what happens to the standard output, where logging is not set up already.
        settings: any other of the command line, as in ``cmi={"lambda": 0.1}``, ``cmi="paper"``,
            ``evaluation={"repeats": 10}``, ``regularizer=["iid", "cmi"]``, ``results_root="results"``.

    Returns:
        The run with its synthetic set and accuracies.

    Raises:
        SettingError: one line for the first setting that is unknown, of the wrong type, or does not fit the others.

    Examples:
        >>> import cmidd
        >>> few = {"name": "dm", "iterations": 5}
        >>> short = {"repeats": 2, "training": {"epochs": 5}, "baselines": []}
        >>> small = {"name": "convnet", "width": 8}
        >>> made = cmidd.distill(method=few, ipc=2, network=small, evaluation=short, verbose=False)
        >>> len(made.accuracies), list(made.synthetic.images.shape)
        (2, [20, 1, 8, 8])
    """
    given = {"method": method, "dataset": dataset, "ipc": ipc, "seed": seed}
    settings = {**{name: value for name, value in given.items() if value is not None}, **settings}
    notes.clear()
    chosen = composition([*as_words(settings), *words])
    checked = read_settings(chosen.settings)
    if checked.dry_run:
        raise SettingError(f"dry_run={checked.dry_run}: only the command line has a dry run; leave it out")
    if checked.prepare:
        raise SettingError("prepare=True: only the command line prepares runs; leave it out")
    with _heard(verbose), torch_defaults(), run_log(str(checked.folder)) as said:
        check_recipe(chosen)
        say_notes()
        return Run(checked.folder, run(checked, Admission(chosen, checked, said)))


def evaluate(
    synthetic: Evaluated | Sequence[Evaluated],
    *words: str,
    network: str | Mapping[str, Any] | None = None,
    networks: Sequence[str | Mapping[str, Any]] | None = None,
    repeats: int | None = None,
    seed: int = 0,
    verbose: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Train networks from scratch on synthetic sets and test them: what ``cmidd evaluate`` does, and writes nothing.

    Args:
        synthetic: a run, its folder, a set that was loaded, or a file or folder of others; or several of them.
        words: settings as they are typed on the command line, which win over the others.
        network: a name of the zoo, or ``{"name": "convnet", "depth": 4}``; None: the set's own.
        networks: several of them, likewise; None: ``network`` alone.
        repeats: networks of each; None: 5, or what the protocol says.
        seed: of their initial weights and batches.
        verbose: log what happens to the standard output, where logging is not set up already.
        settings: any other of the command line, as in ``evaluation="dsa"``, ``dataset={"name": "folder", "size": 64}``;
            for a set of others ``method`` and ``dataset``.

    Returns:
        By network the accuracy of each repeat on the test set, in per cent; of several sets that by each set's path.

    Raises:
        SettingError: when a set cannot be read, or something that it does not say is not given either.

    Examples:
        >>> import cmidd
        >>> few = {"name": "dm", "iterations": 5}
        >>> short = {"repeats": 2, "training": {"epochs": 5}, "baselines": []}
        >>> small = {"name": "convnet", "width": 8}
        >>> made = cmidd.distill(method=few, ipc=2, network=small, evaluation=short, verbose=False)
        >>> found = cmidd.evaluate(made, networks=["mlp"], repeats=2, evaluation={"training": {"epochs": 2}})
        >>> {name: len(values) for name, values in found.items()}
        {'mlp': 2}
    """
    several = [synthetic] if isinstance(synthetic, Evaluated) else list(synthetic)
    sets = [each.folder if isinstance(each, Run) else each for each in several]
    names = [f"set {n} in memory" if isinstance(each, SyntheticSet) else str(each) for n, each in enumerate(sets, 1)]
    given = {"network": network, "networks": networks, "repeats": repeats}
    named = {"synthetic": names, "seed": seed, **{key: value for key, value in given.items() if value is not None}}
    loaded = {name: each for name, each in zip(names, sets, strict=True) if isinstance(each, SyntheticSet)}
    with _heard(verbose), torch_defaults():
        request = _request([*as_words({**named, **settings}), *words])
        found = {asked.path: measure(request, asked).accuracies for asked in subjects(request, loaded)}
    return found[names[0]] if isinstance(synthetic, Evaluated) else found


def _request(words: list[str]) -> Request:
    """What an evaluation is asked for by words of the command line."""
    chosen = composition(as_of_a_run(words), "evaluate")
    notes.clear()
    return read_evaluation(chosen.settings, chosen.words, compose_evaluation)


@torch_defaults()
def load_dataset(
    name: str = "digits",
    *,
    root: str | Path = "data",
    download: bool = True,
    device: str | torch.device = "cpu",
    **settings: Any,
) -> Dataset:
    """Read a data set preprocessed as it says by itself (``configs/dataset``), as tensors on one device.

    Args:
        name: as ``dataset=`` has it.
        root: where the files are, or are downloaded to; of ``folder`` and ``arrays`` the folder or file itself.
        download: fetch published files that are missing.
        device: where the tensors go.
        settings: the data set's, as ``dataset.<setting>`` has them: ``size=64``, ``validation=0.1``; also what the
            recipe of a method says of it, as ``zca=True`` for MTT on CIFAR10.

    Returns:
        ``train`` and ``test`` with ``images`` ``[N, C, H, W]`` float32 and ``labels`` ``[N]``, ``classes`` and
        ``preprocessing``.

    Raises:
        SettingError: when files are missing or unreadable, saying where it looked and the ways out.

    Examples:
        >>> import cmidd
        >>> list(cmidd.load_dataset("digits").test.images.shape)
        [359, 1, 8, 8]
    """
    words = as_words({"dataset": {"name": name, **settings}, "data": {"root": str(root), "download": download}})
    checked = compose([*words, "~recipe"])  # That of the default method, which nobody named.
    return load.load_dataset(**checked.dataset, **vars(checked.data), device=pick_device(str(device)))


@contextlib.contextmanager
def _heard(verbose: bool) -> Iterator[None]:
    """Show what cmidd logs for a while, where nothing is set up that does."""
    ours, root, own = logging.getLogger("cmidd"), logging.getLogger(), logging.StreamHandler(sys.stdout)
    level = ours.level
    ours.setLevel(logging.INFO)
    if shown := verbose and not root.handlers:
        root.addHandler(own)
    try:
        yield
    finally:
        ours.setLevel(level)
        if shown:
            root.removeHandler(own)
