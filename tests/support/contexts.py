"""The world of a tiny run."""

from pathlib import Path

from cmidd.buffers.experts import ExpertSettings
from cmidd.compute.recipe import TrainingRecipe
from cmidd.core.context import Context
from cmidd.data.load import load_dataset
from cmidd.samplers.random import RandomSampler
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams

SETTINGS = ExpertSettings(4, TrainingRecipe(epochs=2, momentum=0.0, weight_decay=0.0))


def context(buffers, ipc=1, depth=2):
    data = load_dataset("digits")
    return Context(
        data=data,
        synthetic=SyntheticSet.from_real(data, ipc, Streams(0)("init")),
        streams=Streams(0),
        buffers=Path(buffers),
        network={"name": "convnet", "width": 8, "depth": depth},
        data_key={"name": "digits"},
        sampler=RandomSampler(data),
    )
