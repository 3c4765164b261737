"""IDM, improved distribution matching (Zhao et al., CVPR 2023)."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from cmidd.compute.backward import Backward
from cmidd.compute.embeddings import class_means, embed_real, mean_embedding_distance
from cmidd.compute.optimizer_state import remembered, restore
from cmidd.compute.passes import embed_in_chunks
from cmidd.compute.recipe import TrainingRecipe, refuse_passes
from cmidd.compute.training import train_step
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation
from cmidd.networks import Network
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count, Fraction, NonNegative, Positive


class QueuedNetwork:
    """A network of the queue with its optimiser and its running training accuracy."""

    def __init__(self, network: Network, optimizer: torch.optim.Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self.correct: int | Tensor = 0
        self.seen = 0

    @property
    def accuracy(self) -> float:
        """Training accuracy since the last reset, in per cent; 0 when nothing was seen since."""
        return 100 * int(self.correct) / self.seen if self.seen else 0.0


class IDM(Method):
    """Match class means in the embedding of networks that are being trained on real data, and have those
    networks classify the synthetic images, the more so the more accurate they are.

    As for IDC, the reference's step per class is taken as one joint step of size ``lr_img / (1 - momentum)``.

    Args:
        ce_weight: of the cross-entropy, times the network's training accuracy in per cent (0 to 100).
        queue_start, queue_size: networks at the start and at most; the oldest leaves.
        net_generate_interval: iterations between two new networks.
        fetch_nets, net_steps: networks trained per iteration, and for how many batches each.
        meter_reset: iterations between two resets of the accuracies, or the iterations at which they are reset (at the
            evaluations in the references).
    """

    decodes = True
    unsteady = ("net.lr", "lr_img")

    def __init__(
        self,
        context: Context,
        *,
        lr_img: Positive,
        momentum: Fraction,
        batch_real: Count,
        ce_weight: NonNegative,
        queue_start: Count,
        queue_size: Count,
        net_generate_interval: Count,
        fetch_nets: Count,
        net_steps: Count,
        meter_reset: Count | Annotated[tuple[Count, ...], Field(min_length=1)],
        augment: Augmentation,
        net: TrainingRecipe,
    ) -> None:
        self.context, self.augment, self.net = context, augment, net
        self.lr, self.batch_real, self.ce_weight = lr_img / (1 - momentum), batch_real, ce_weight
        self.queue_size, self.net_generate_interval = queue_size, net_generate_interval
        self.fetch_nets, self.net_steps, self.meter_reset = fetch_nets, net_steps, meter_reset
        self.backward = Backward(net)
        self.queue = [self._queued(context.streams("queue_start", number)) for number in range(queue_start)]

    @classmethod
    def refuse(cls, settings: Mapping[str, Any], network: Network) -> None:
        refuse_passes(settings["net"], "method.net")
        size, start = settings["queue_size"], settings["queue_start"]
        if size < start:
            raise SettingError(
                f"method.queue_size={size}: fewer networks than the queue starts with; give at least "
                f"method.queue_start={start}, or fewer of those"
            )

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.context.synthetic.leaf], "lr": self.lr, "momentum": 0.0}]

    def matches(self, iteration: int) -> Iterator[Match]:
        context, streams = self.context, self.context.streams
        self._keep_queue(iteration)
        chosen = self.queue[int(torch.randint(len(self.queue), (1,), generator=streams("network", iteration)))]
        network = chosen.network.eval()
        decoded = context.synthetic.training_images()
        real = context.real_batch(self.batch_real, network, iteration)
        num_classes = context.data.num_classes
        real, augmented = self.augment.siamese(real, decoded, num_classes, streams("augment", iteration))
        embedded = embed_real(network, real.images), embed_in_chunks(network, augmented.images)
        loss = matching_loss(network, embedded, real.labels, augmented.labels, self.ce_weight * chosen.accuracy)
        yield Match(loss, decoded.images, decoded.labels, network, real, augmented, embedded, num_classes)
        self._train_some(iteration)

    def _keep_queue(self, iteration: int) -> None:
        at = self.meter_reset
        if iteration in at if isinstance(at, tuple) else iteration % at == 0:
            for queued in self.queue:
                queued.correct, queued.seen = 0, 0
        if iteration % self.net_generate_interval == 0:
            if len(self.queue) == self.queue_size:
                self.queue.pop(0)
            self.queue.append(self._queued(self.context.streams("queue", iteration)))

    def _train_some(self, iteration: int) -> None:
        data, generator = self.context.data, self.context.streams("net", iteration)
        for index in torch.randperm(len(self.queue), generator=generator)[: self.fetch_nets].tolist():
            queued = self.queue[index]
            queued.network.train()
            for _ in range(self.net_steps):
                batch = data.at(torch.randperm(len(data.train), generator=generator)[: self.net.batch])
                logits = train_step(
                    queued.network, queued.optimizer, batch, self.net, generator, backward=self.backward
                )
                queued.correct = queued.correct + (logits.argmax(1) == batch.labels).sum()  # Read when it is needed.
                queued.seen += len(batch)

    def _queued(self, generator: torch.Generator) -> QueuedNetwork:
        network = self.context.matching_network(generator)
        return QueuedNetwork(network, self.net.new_optimizer(network))

    def state(self) -> dict[str, Tensor]:
        tensors = {"meters": torch.tensor([[int(queued.correct), queued.seen] for queued in self.queue])}
        for number, queued in enumerate(self.queue):
            tensors.update({f"{number}/{name}": value for name, value in queued.network.state_dict().items()})
            for name, parameter in queued.network.named_parameters():
                own = remembered(queued.optimizer, parameter)
                tensors.update({f"{number}/{name}/{what}": value for what, value in own.items()})
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        self.queue = []
        for number, (correct, seen) in enumerate(tensors["meters"].tolist()):
            queued = self._queued(torch.Generator())
            queued.correct, queued.seen = correct, seen
            queued.network.load_state_dict({name: tensors[f"{number}/{name}"] for name in queued.network.state_dict()})
            for name, parameter in queued.network.named_parameters():
                own = f"{number}/{name}/"
                kept = {key.removeprefix(own): value for key, value in tensors.items() if key.startswith(own)}
                restore(queued.optimizer, parameter, kept)
            self.queue.append(queued)


def matching_loss(
    network: Network, embedded: tuple[Tensor, Tensor], real_labels: Tensor, labels: Tensor, ce_weight: float
) -> Tensor:
    """Per class ``[C]``: squared distance of mean embeddings plus ``ce_weight`` times the mean cross-entropy.

    ``embedded`` are the real and the synthetic images' embeddings in ``network``.
    """
    real, synthetic = embedded
    distance = mean_embedding_distance(real, real_labels, synthetic, labels)
    if ce_weight == 0:
        return distance
    errors = F.cross_entropy(network.classifier(synthetic), labels, reduction="none")
    return distance + ce_weight * class_means(errors, labels, len(distance))
