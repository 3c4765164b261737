"""What the scripts import, also that which they import only when they come to it; no tensor is computed with."""

import gc
import os
import sys

import matplotlib.figure  # noqa: F401
import PIL.Image
import pytest  # noqa: F401 (what the tests' own functions are imported with)
import sklearn.datasets  # noqa: F401
import torch._dynamo  # noqa: F401 (any optimizer imports it)
import torchvision.utils  # noqa: F401
import wandb  # noqa: F401

import cmidd.runs.run  # noqa: F401
from cmidd.cli.compose import compose

if sys.platform == "darwin" and os.environ.get("CMIDD_GPU") != "1":
    import tests.support.no_gpu  # noqa: F401

compose([])
PIL.Image.init()
gc.collect()
