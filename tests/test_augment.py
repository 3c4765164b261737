import pytest
import torch

from cmidd import augment
from cmidd.augment import Augmentation
from tests.conftest import load_golden

OPERATIONS = ["brightness", "saturation", "contrast", "crop", "cutout", "flip", "scale", "rotate"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mode", ["siamese", "independent"])
def test_operation_equals_the_reference(golden_set, mode, operation):
    golden = load_golden(f"{golden_set}/augmentation")
    draws = [golden[key] for i in range(2) if (key := f"{mode}_{operation}_draw{i}") in golden]
    if mode == "siamese":
        draws = [draw[:1].expand(len(draw)) for draw in draws]
    out = getattr(augment, operation)(golden["x"], *draws)
    torch.testing.assert_close(out, golden[f"{mode}_{operation}_out"], rtol=1e-4, atol=1e-5)


def test_images_of_a_class_share_one_draw_and_classes_differ():
    image = torch.rand(1, 3, 16, 16).expand(12, -1, -1, -1)
    labels = torch.arange(12) % 4
    transform = Augmentation().per_class(4, torch.Generator().manual_seed(3))
    out = transform(image, labels)
    for label in range(4):
        assert (out[labels == label] == out[labels == label][0]).all()
    assert any(not torch.equal(out[0], out[i]) for i in range(1, 4))


def test_transform_of_mixed_operations_equals_each_class_alone():
    images, labels = torch.rand(12, 1, 8, 8), torch.arange(12) % 6
    transform = Augmentation().per_class(6, torch.Generator().manual_seed(0))
    together = transform(images, labels)
    for label in range(6):
        torch.testing.assert_close(
            together[labels == label], transform(images[labels == label], labels[labels == label])
        )


def test_every_operation_lets_the_gradient_through():
    images = torch.rand(64, 3, 8, 8, requires_grad=True)
    Augmentation().per_class(64, torch.Generator().manual_seed(0))(images).sum().backward()
    assert images.grad.abs().sum() > 0
