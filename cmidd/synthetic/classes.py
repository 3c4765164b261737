"""The classes of a synthetic set beside those of the data set that it meets: by their names, never guessed."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError


def by_name(synthetic: SyntheticSet, classes: Sequence[str], where: str, dataset: str) -> SyntheticSet:
    """The set with its labels, hard and soft, as ``classes`` counts them; itself where they do already.

    Args:
        where: what the set is called in errors; ``dataset`` is what the data set is.

    Raises:
        SettingError: when the two have not the same classes, with the first that differs.
    """
    own = synthetic.classes
    _refuse_others(own, classes, where, dataset)
    if tuple(own) == tuple(classes):
        return synthetic
    numbers = torch.tensor([list(classes).index(name) for name in own])

    def counted(labels: Tensor) -> Tensor:
        return numbers.to(labels.device)[labels]

    def softly(soft: SoftLabels | None) -> SoftLabels | None:
        return None if soft is None else soft.of_classes(numbers)

    finished = [
        dataclasses.replace(stage, labels=counted(stage.labels), soft_labels=softly(stage.soft_labels))
        for stage in synthetic.finished
    ]
    return dataclasses.replace(
        synthetic,
        leaf_labels=counted(synthetic.leaf_labels),
        soft_labels=softly(synthetic.soft_labels),
        classes=tuple(classes),
        finished=finished,
    )


def refuse_other_classes(own: Sequence[str], classes: Sequence[str], where: str, dataset: str) -> None:
    """Refuse a set whose classes are others than those of the data set, or in another order.

    Raises:
        SettingError: with the first class that differs.
    """
    _refuse_others(own, classes, where, dataset)
    for label, (ours, theirs) in enumerate(zip(own, classes, strict=True)):
        if ours != theirs:
            raise SettingError(
                f"{where}: class {label} is {ours!r} in the set and {theirs!r} in {dataset}, which has the same "
                "classes in another order; give the data.root that it was made from"
            )


def _refuse_others(own: Sequence[str], classes: Sequence[str], where: str, dataset: str) -> None:
    if len(own) != len(classes):
        raise SettingError(
            f"{where}: a set of {len(own)} classes, {dataset} has {len(classes)}; give the data.root that it was made "
            "from"
        )
    for kind, names in (("the set", own), (dataset, classes)):
        if len(set(names)) != len(names):
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise SettingError(f"{where}: {kind} has two classes {twice!r}; give each a name of its own")
    if set(own) != set(classes):
        label = next(label for label, name in enumerate(own) if name not in classes)
        other = next((name for name in [classes[label], *classes] if name not in own), classes[label])
        raise SettingError(
            f"{where}: class {label} of the set is {own[label]!r}, which {dataset} has not ({other!r} it has); give "
            "the data.root that it was made from, or rename the classes as they were"
        )
