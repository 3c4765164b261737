"""PDD, progressive distillation in stages (Chen et al., ICLR 2024).

The images of a class are divided; each part is distilled with the earlier ones beside it, which no longer change, in
networks that were trained through the earlier stages as evaluation does it. A stage costs what the plain method costs,
and training those networks. The set is evaluated by training through its stages in order, so evaluation takes longer.

PDD trains such a network for every iteration; here it draws from a pool of ``pool`` of them, which bounds the cost.
Experts of MTT start from networks of their own. Optimisers start anew in every stage.

Source: ProgressiveDD/distill_idc.py:541-615, distill_mtt.py:165, 299-305.
"""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from cmidd.compute.recipe import TrainingRecipe
from cmidd.core.context import Context, WarmStart
from cmidd.core.schedule import Schedule
from cmidd.evaluation.train_on_set import TrainingStage, digest, stages_of, train_through
from cmidd.networks import Network
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Count


class PDD(Schedule):
    """The schedule.

    Args:
        stages: how many; the images are divided as evenly as can be, larger parts first.
        warm_epochs: epochs on each earlier stage when a network is trained through them; null: as in evaluation.
        pool: networks trained through the earlier stages, of which the method draws its networks.
        overrides: settings of the method for the second stage, the third, ... where they differ from the first.
    """

    def __init__(
        self, *, stages: Count, warm_epochs: Count | None, pool: Count, overrides: tuple[dict[str, Any], ...] = ()
    ) -> None:
        self.stages, self.warm_epochs, self.pool, self.overrides = stages, warm_epochs, pool, overrides

    def sizes(self, ipc: int) -> list[int]:
        if ipc < self.stages:
            raise SettingError(
                f"schedule.stages={self.stages}: more stages than images per class (ipc={ipc}); choose at most {ipc}"
            )
        smaller, larger = divmod(ipc, self.stages)
        return [smaller + (stage < larger) for stage in range(self.stages)]

    def method_settings(self, stage: int) -> dict[str, Any]:
        return self.overrides[stage - 1] if 0 < stage <= len(self.overrides) else {}

    def warm_networks(self, stage: int, recipe: TrainingRecipe) -> tuple[int, int]:
        return self.pool, stage * len(self._warm(recipe).learning_rates)

    def stage_context(self, stage: int, context: Context, recipe: TrainingRecipe) -> Context:
        if stage == 0:
            return context
        streams = context.streams.child("stage", stage)
        warm = WarmNetworks(context, stages_of(context.synthetic, self._warm(recipe)), streams, self.pool)
        return dataclasses.replace(context, streams=streams, warm_start=warm)

    def _warm(self, recipe: TrainingRecipe) -> TrainingRecipe:
        return dataclasses.replace(recipe, epochs=self.warm_epochs or recipe.epochs)


class WarmNetworks(WarmStart):
    """Networks that were trained through the finished stages.

    Attributes:
        key: names what they were trained on, for caches of what is made from them.
    """

    def __init__(self, context: Context, stages: Sequence[TrainingStage], streams: Streams, pool: int) -> None:
        self.context, self.stages, self.streams, self.pool = context, stages, streams, pool
        self.trained: dict[int, Network] = {}
        self.key = digest(stages)

    def draw(self, generator: torch.Generator) -> Network:
        """A copy of one of the pool, trained when first drawn."""
        number = int(torch.randint(self.pool, (1,), generator=generator))
        if number not in self.trained:
            own = self.streams.child("warm", number)
            self.trained[number] = self.train(self.context.new_network(own("network")), own)
        return copy.deepcopy(self.trained[number])

    def train(self, network: Network, streams: Streams) -> Network:
        """Train a network through the stages, in place."""
        train_through([network], self.stages, [streams], what=None)
        return network
