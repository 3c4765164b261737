import pytest
import torch

from cmidd.data.load import load_dataset
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.golden import load_golden

IDC = Formation(factor=2, stored_as="pixels")
IDM = Formation(factor=2, tile_order="columns", shrink="bilinear")


@pytest.mark.parametrize("factor", [2, 3])
def test_idc_decoding_equals_the_reference(golden_set, factor):
    golden = load_golden(f"{golden_set}/multi_formation")
    formation = Formation(factor=factor, stored_as="pixels")
    torch.testing.assert_close(formation.cut(golden["images"]), golden[f"idc_factor{factor}"], rtol=1e-4, atol=1e-6)


def test_idm_expansion_equals_the_reference(golden_set):
    golden = load_golden(f"{golden_set}/multi_formation")
    torch.testing.assert_close(IDM.cut(golden["images"]), golden["idm_expand"], rtol=1e-4, atol=1e-6)


def test_mixed_initialisation_equals_the_reference(golden_set):
    golden = load_golden(f"{golden_set}/multi_formation")
    torch.testing.assert_close(IDC.tile(golden["mix_init_pool"]), golden["idc_mix_init"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (7, 11)])
def test_where_the_factor_does_not_divide_the_side_the_first_cells_are_larger(shape):
    """IDC, condense.py, Synthesizer.init: h_r = s + 1 where i < remained."""
    pool = torch.rand(2 * 9, 3, *shape, generator=torch.Generator().manual_seed(0))
    expected, (height, width) = torch.zeros(2, 3, *shape), (divmod(side, 3) for side in shape)
    k = top = 0
    for i in range(3):
        rows, left = height[0] + (i < height[1]), 0
        for j in range(3):
            columns = width[0] + (j < width[1])
            part = torch.nn.functional.interpolate(pool[2 * k : 2 * (k + 1)], size=(rows, columns))
            expected[:, :, top : top + rows, left : left + columns] = part
            left, k = left + columns, k + 1
        top += rows
    assert torch.equal(Formation(factor=3).tile(pool), expected)


@pytest.mark.parametrize("formation", [IDC, IDM, Formation(factor=3, stored_as="pixels")])
def test_a_set_of_flat_images_decodes_to_them_with_the_right_labels(formation):
    data = load_dataset("digits")
    synthetic = SyntheticSet.from_real(data, 2, Streams(0)("init"), formation)
    grey = torch.arange(10.0).repeat_interleave(2)[:, None, None, None].expand(20, 1, 8, 8) / 10
    synthetic.leaf = grey if formation.stored_as == "pixels" else data.preprocessing(grey)
    decoded = synthetic.decode()
    assert len(decoded) == 20 * formation.factor**2
    pixels = data.preprocessing.inverse(decoded.images)
    expected = (decoded.labels / 10)[:, None, None, None].expand_as(pixels)
    inner = slice(0, 8 if formation.factor == 2 else 1)  # the padding for factor 3 is grey
    torch.testing.assert_close(pixels[:, :, inner, inner], expected[:, :, inner, inner])


@pytest.mark.parametrize("formation", [IDC, IDM])
def test_a_stored_set_decodes_to_the_same_training_images(tmp_path, formation):
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 3, Streams(0)("init"), formation)
    synthetic.save(tmp_path / "set.safetensors")
    loaded = load_synthetic(tmp_path / "set.safetensors")
    assert torch.equal(loaded.decode().images, synthetic.decode().images)
    assert loaded.pixels().min() >= 0
    assert loaded.pixels().max() <= 1
