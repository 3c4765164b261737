import math

import pytest
import torch
from scipy.stats import beta, kstest
from torchvision.transforms.v2.functional import resized_crop

from cmidd.compute.recipe import TrainingRecipe
from cmidd.data import image_ops
from cmidd.data.augmentation import MOST_PATCHES, Augmentation, Transform
from cmidd.utils.checking import checked
from cmidd.utils.errors import SettingError
from tests.support.golden import load_golden

OPERATIONS = ["brightness", "saturation", "contrast", "crop", "cutout", "flip", "scale", "rotate"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mode", ["siamese", "independent"])
def test_operation_equals_the_reference(golden_set, mode, operation):
    golden = load_golden(f"{golden_set}/augmentation")
    draws = [golden[key] for i in range(2) if (key := f"{mode}_{operation}_draw{i}") in golden]
    if mode == "siamese":
        draws = [draw[:1].expand(len(draw)) for draw in draws]
    out = getattr(image_ops, operation)(golden["x"], *draws)
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


def drawn(strategy, u, operation=0, **options):
    """A transform of one operation with given numbers ``u``, one draw for every image."""
    augmentation = Augmentation(strategy, **options)
    return Transform(augmentation, [torch.full((len(u),), operation)], [torch.tensor(u)])


ALMOST_ONE = 1 - 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_transform_hands_its_numbers_to_the_operations_as_precise_as_the_images(dtype):
    images = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0), dtype=dtype)
    u = [[0.1, 0.7, 0.4], [0.9, 0.2, 0.6]]
    first, second, third = torch.tensor(u).to(dtype).T
    for align in (False, True):
        expected = {
            "color": image_ops.contrast(image_ops.saturation(image_ops.brightness(images, first), second), third),
            "flip": image_ops.flip(images, first),
            "scale": image_ops.scale(images, first, second, align_corners=align),
            "rotate": image_ops.rotate(images, first, align_corners=align),
        }
        for name, out in expected.items():
            assert torch.equal(drawn(name, u, align_corners=align)(images), out)
    assert not torch.equal(
        image_ops.scale(images, first, second), image_ops.scale(images, first, second, align_corners=True)
    )


@pytest.mark.parametrize(("side", "most"), [(8, 1), (32, 4), (28, 4)])
def test_a_crop_moves_by_at_most_an_eighth_of_the_side_in_every_direction(side, most):
    image = torch.zeros(1, 1, side, 2 * side)
    image[..., side // 2, side] = 1
    across = int(2 * side / 8 + 0.5)
    for u, shift_y, shift_x in ((0.0, -most, -across), (0.5, 0, 0), (ALMOST_ONE, most, across)):
        moved = drawn("crop", [[u, u, 0.0]])(image)
        assert moved.nonzero().tolist() == [[0, 0, side // 2 - shift_y, side - shift_x]]


def test_cutout_takes_a_square_of_half_the_side_whose_centre_may_lie_on_or_just_beyond_the_border():
    image = torch.ones(1, 1, 8, 16)
    for u, rows, columns in (
        (0.0, range(2), range(4)),
        (0.5, range(2, 6), range(4, 12)),
        (ALMOST_ONE, range(6, 8), range(12, 16)),
    ):
        hole = drawn("cutout", [[u, u, 0.0]])(image) == 0
        assert hole.nonzero().tolist() == [[0, 0, row, column] for row in rows for column in columns]
    # An odd square has its centre inside the image.
    hole = drawn("cutout", [[ALMOST_ONE, 0.0, 0.0]])(torch.ones(1, 1, 6, 6)) == 0
    assert hole.nonzero().tolist() == [[0, 0, row, column] for row in (4, 5) for column in (0, 1)]
    # A square that begins beyond the last row still covers that row.
    hole = image_ops.cutout(torch.ones(1, 1, 4, 4), torch.tensor([4]), torch.tensor([0])) == 0
    assert hole.nonzero().tolist() == [[0, 0, 3, 0]]


def test_a_strategy_is_divided_into_stages_as_its_composition_says():
    everything = "color_crop_cutout_flip_scale_rotate"
    assert Augmentation(everything).stages == [everything.split("_")]
    assert Augmentation("none").stages == []
    idc = Augmentation(everything, composition="idc")
    assert idc.stages == [["flip"], ["color"], ["crop", "scale", "rotate"], ["cutout"]]
    assert Augmentation("color_crop", composition="idc").stages == [["color"], ["crop"]]
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(Augmentation("none").per_image(3, torch.Generator())(images), images)
    both = Augmentation("flip_cutout", composition="idc").per_image(3, torch.Generator().manual_seed(0))
    cut = image_ops.flip(images, both.u[0][:, 0])
    assert torch.equal(both(images), drawn("cutout", both.u[1].tolist())(cut))


def test_a_batch_shares_its_operation_and_every_image_has_its_own_numbers():
    seen = set()
    for seed in range(40):
        transform = Augmentation().per_image(5, torch.Generator().manual_seed(seed))
        assert len(transform.operations[0].unique()) == 1
        assert len(transform.u[0].unique(dim=0)) == 5
        seen.add(int(transform.operations[0][0]))
    assert seen == set(range(6))


def test_an_unknown_operation_is_named():
    with pytest.raises(SettingError, match="unknown operation 'blur'; join some of color, crop, cutout, flip"):
        checked(TrainingRecipe, {"augment": {"strategy": "color_blur"}}, "training")


@pytest.mark.parametrize("seed", range(12))
def test_cutmix_takes_one_box_from_the_partner_and_says_how_much_is_left(seed):
    """CutMix, algorithm 1: a box of sides H sqrt(1 - share), W sqrt(1 - share) around a uniform centre, clipped."""
    height, width = 16, 12
    images = torch.arange(5.0)[:, None, None, None].expand(5, 2, height, width)
    mixed, partner, share = image_ops.cutmix(images, torch.Generator().manual_seed(seed))
    assert sorted(partner.tolist()) == list(range(5))
    generator = torch.Generator().manual_seed(seed)
    torch.randperm(5, generator=generator)
    kept, y, x = torch.rand(3, generator=generator).tolist()
    box = torch.zeros(height, width, dtype=torch.bool)
    half_y, half_x = int(height * (1 - kept) ** 0.5) // 2, int(width * (1 - kept) ** 0.5) // 2
    middle_y, middle_x = int(y * height), int(x * width)
    box[max(0, middle_y - half_y) : middle_y + half_y, max(0, middle_x - half_x) : middle_x + half_x] = True
    for index in range(5):
        expected = torch.where(box, images[partner[index]], images[index])
        assert torch.equal(mixed[index], expected)
    assert share == pytest.approx(1 - float(box.float().mean()))
    assert images[3].eq(3).all()


def test_each_applies_every_operation_of_a_strategy_in_its_order_and_dsas_draws_stay():
    both = Augmentation("crop_flip", composition="each")
    assert both.stages == [["crop"], ["flip"]]
    images = torch.rand(3, 1, 8, 8)
    drawn_once = both.per_image(3, torch.Generator().manual_seed(0))
    cropped = drawn("crop", drawn_once.u[0].tolist())(images)
    assert torch.equal(drawn_once(images), image_ops.flip(cropped, drawn_once.u[1][:, 0]))
    generator = torch.Generator().manual_seed(5)
    transform = Augmentation().per_image(4, torch.Generator().manual_seed(5))
    assert torch.equal(transform.operations[0][:1], torch.randint(6, (1,), generator=generator))
    assert torch.equal(transform.u[0], torch.rand(4, 3, generator=generator))


@pytest.mark.parametrize(("height", "width", "factor"), [(8, 12, 2), (9, 7, 3), (5, 5, 1)])
def test_shuffle_lays_bands_of_columns_and_of_rows_in_another_order(height, width, factor):
    """RDED/validation/utils.py, ShufflePatches, image by image; the last band has what the others leave."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(6, 2, height, width, generator=generator)
    u, v = (torch.rand(6, factor, generator=generator) for _ in range(2))
    out = image_ops.shuffle(images, u, v)
    for number, image in enumerate(images):
        for axis, order in ((2, u[number]), (1, v[number])):
            side = image.shape[axis] // factor
            bands = image.split([side] * (factor - 1) + [image.shape[axis] - side * (factor - 1)], axis)
            image = torch.cat([bands[band] for band in order.argsort().tolist()], axis)
        assert torch.equal(out[number], image)


def test_zoom_is_torchvisions_random_resized_crop():
    """RandomResizedCrop.get_params: of ten tries the first that fits, rounded; then resized without antialiasing."""
    generator, (height, width) = torch.Generator().manual_seed(0), (12, 16)
    images, u = torch.randn(40, 3, height, width, generator=generator), torch.rand(40, 22, generator=generator)
    out = image_ops.zoom(images, u, 0.3)
    for image, numbers, found in zip(images, u.tolist(), out, strict=True):
        for area, shape in zip(numbers[:10], numbers[10:20], strict=True):
            area, shape = height * width * (0.3 + 0.7 * area), math.exp(math.log(4 / 3) * (2 * shape - 1))
            rows, columns = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
            if rows <= height and columns <= width:
                break
        top, left = int(numbers[20] * (height - rows + 1)), int(numbers[21] * (width - columns + 1))
        expected = resized_crop(image, top, left, rows, columns, [height, width], antialias=False)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    # Where nothing is cut off, as with a factor of 1 in RDED, the whole image is shown.
    torch.testing.assert_close(image_ops.zoom(images[:, :, :, :12], u, 1.0), images[:, :, :, :12])


def test_a_shuffle_and_a_zoom_have_their_numbers_from_the_transform():
    images = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    transform = Augmentation("shuffle_zoom", composition="each", patches=4, smallest=0.25).per_image(
        5, torch.Generator().manual_seed(1)
    )
    (first, second), most = transform.u, MOST_PATCHES
    shuffled = image_ops.shuffle(images, first[:, :4], first[:, most : most + 4])
    assert torch.equal(transform(images), image_ops.zoom(shuffled, second, 0.25))


def test_mixup_is_one_share_of_a_batch_from_a_beta_distribution():
    images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    mixed, partner, share = image_ops.mixup(images, 0.8, torch.Generator().manual_seed(3))
    torch.testing.assert_close(mixed, share * images + (1 - share) * images[partner])
    assert sorted(partner.tolist()) == list(range(6))
    shares = [image_ops.mixup(images, 0.8, torch.Generator().manual_seed(seed))[2] for seed in range(400)]
    assert kstest(shares, beta(0.8, 0.8).cdf).pvalue > 0.01
