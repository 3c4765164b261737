"""The digits of scikit-learn, which need no download."""

from pathlib import Path

import numpy as np
import torch

from cmidd.data.split import Source, Split, stratified_split


def read(root: Path, download: bool) -> Source:
    """The 1,797 digits of 8x8 pixels inside scikit-learn; a fixed stratified fifth (359) is the test set."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The pixels are counts from 0 to 16.
    pixels = torch.tensor(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    everything = Split(pixels, torch.tensor(bunch.target, dtype=torch.int64))
    train, test = stratified_split(everything, fraction=0.2)
    return Source(train, test, tuple(str(name) for name in bunch.target_names))
