"""A set as a table of pictures, as the Hugging Face hub keeps data sets."""

import io
import json
from pathlib import Path

from torch import Tensor

from cmidd.synthetic.exported import warn_of_clipping
from cmidd.synthetic.exports.common import decoded, refuse_soft_labels, refuse_stages
from cmidd.synthetic.pictures import new_folder
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError

FILE = "data/train-00000-of-00001.parquet"


def write(synthetic: SyntheticSet, folder: Path) -> None:
    """One row an image: ``image`` (``bytes`` of a PNG, ``path``) and ``label``, with the names of the classes.

    Raises:
        SettingError: when the set has stages or soft labels, the folder is not new, or pyarrow is not installed.
    """
    refuse_stages(synthetic, "parquet")
    refuse_soft_labels(synthetic, "parquet")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise SettingError("format=parquet: needs pyarrow; pip install 'cmidd[parquet]'") from error
    raw = synthetic.transform.inverse(decoded(synthetic))
    warn_of_clipping(raw)
    labels = synthetic.decode().labels.tolist()
    eight_bits = raw.clamp(0, 1).mul(255).round().byte()
    rows = [{"bytes": _png(each), "path": f"{number:05d}.png"} for number, each in enumerate(eight_bits)]
    kinds = {"image": {"_type": "Image"}, "label": {"names": list(synthetic.classes), "_type": "ClassLabel"}}
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema(
        [("image", picture), ("label", pyarrow.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": kinds}})},
    )
    with new_folder(folder) as beside:
        (beside / FILE).parent.mkdir()
        pyarrow.parquet.write_table(pyarrow.Table.from_pydict({"image": rows, "label": labels}, schema), beside / FILE)


def _png(pixels: Tensor) -> bytes:
    from torchvision.transforms.functional import to_pil_image  # It imports for a second: here, where it is needed.

    to_pil_image(pixels).save(content := io.BytesIO(), format="PNG")
    return content.getvalue()
