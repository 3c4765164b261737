"""The picture of the README, from two sets that are kept in ``results/evidence``: ``python tools/front_picture.py``."""

from pathlib import Path

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont

from cmidd import load_synthetic

ROOT = Path(__file__).parents[1]
SETS = {
    "DM": "cifar10_dm_ipc10_cmi0_seed0",
    "DM with CMI": "cifar10_dm_ipc10_cmi8000_seed0",
}
ROWS = 3  # of the ten images of every class
SIDE, GAP, LINE = 100, 4, 34
FONT = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 17)


def main() -> None:
    sets = {title: load_synthetic(ROOT / "results/evidence" / f"{name}.safetensors") for title, name in SETS.items()}
    classes = next(iter(sets.values())).classes
    step = SIDE + GAP
    picture = Image.new("RGB", (len(classes) * step + GAP, LINE + len(sets) * (LINE + ROWS * step)), "white")
    draw = ImageDraw.Draw(picture)
    for column, name in enumerate(classes):
        draw.text((column * step + step / 2, LINE / 2), name, fill="black", font=FONT, anchor="mm")
    top = LINE
    for title, synthetic in sets.items():
        draw.text((GAP, top + LINE / 2), title, fill="black", font=FONT, anchor="lm")
        top += LINE
        for column in range(len(classes)):
            chosen = synthetic.pixels()[synthetic.labels == column][:ROWS]
            for row, image in enumerate((chosen * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()):
                large = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
                picture.paste(large, (GAP + column * step, top + row * step))
        top += ROWS * step
    picture.quantize(64).save(ROOT / "docs/images/dm_cifar10.png", optimize=True)


if __name__ == "__main__":
    main()
