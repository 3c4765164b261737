"""How the images of runs change, as an animated picture for a talk: their moments, with names and iterations."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cmidd.data.image_files import open_picture
from cmidd.utils import files

EACH, LAST = 800, 3000  # milliseconds that a moment stands
WIDE = 500  # pixels of a panel, at least
GAP, HEAD, FOOT = 24, 72, 52


def movie(panels: Mapping[str, Mapping[int, Path]], title: str, path: Path) -> None:
    """Write an animated GIF, whole or not at all, as presentation programs show it: every panel beside the others, each
    at its last moment that is not later than the iteration below.

    Args:
        panels: the pictures of each by iteration, the first at 0.
    """
    iterations = sorted(set().union(*panels.values()))
    opened = {name: {at: _opened(file) for at, file in moments.items()} for name, moments in panels.items()}
    frames = [
        _frame({name: own[max(at for at in own if at <= now)] for name, own in opened.items()}, title, now, iterations)
        for now in iterations
    ]
    shown = [frame.quantize(256) for frame in frames]
    durations = [*[EACH] * (len(shown) - 1), LAST]
    with files.atomic_write(path) as beside:
        shown[0].save(
            beside, format="GIF", save_all=True, append_images=shown[1:], duration=durations, loop=0, disposal=1
        )


def _opened(path: Path) -> Image.Image:
    picture = open_picture(path, path.parent, "RGB", str(path.parent))
    zoom = math.ceil(WIDE / picture.width)
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)


def _frame(pictures: Mapping[str, Image.Image], title: str, now: int, iterations: Sequence[int]) -> Image.Image:
    """One moment: the title, the panels under their names, the iteration, and how far it is."""
    large, small = ImageFont.load_default(22), ImageFont.load_default(17)
    width = GAP + sum(picture.width + GAP for picture in pictures.values())
    width = max(width, int(large.getlength(title)) + 2 * GAP)
    height = max(picture.height for picture in pictures.values())
    page = Image.new("RGB", (width, HEAD + height + FOOT), "white")
    draw = ImageDraw.Draw(page)
    draw.text((GAP, 22), title, fill="black", font=large, anchor="lm")
    left = GAP
    for name, picture in pictures.items():
        draw.text((left, HEAD - 16), name, fill="#444444", font=small, anchor="lm")
        page.paste(picture, (left, HEAD))
        left += picture.width + GAP
    below = HEAD + height
    said = f"iteration {now} of {iterations[-1]}"
    draw.text((GAP, below + 22), said, fill="black", font=small, anchor="lm")
    start = GAP + int(small.getlength(f"iteration {iterations[-1]} of {iterations[-1]}")) + GAP
    end, at = width - GAP, below + 20
    draw.rectangle((start, at, end, at + 5), fill="#dddddd")
    done = now / iterations[-1] if iterations[-1] else 1.0
    if done > 0:
        draw.rectangle((start, at, start + int((end - start) * done), at + 5), fill="#c1272d")
    return page
