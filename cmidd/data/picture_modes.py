"""Pictures of any mode as 8-bit grey or RGB, upright, and brought to a square.

Pillow alone would drop transparency with whatever colour lies under it, clip 16 bits to 255 and leave a photograph on
its side.
"""

import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 0x0112  # EXIF's tag
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
WHITE = (255, 255, 255, 255)


def upright(picture: Image.Image, channels: int) -> tuple[Image.Image, list[str]]:
    """A picture in mode ``L`` (one channel) or ``RGB``, turned as its EXIF orientation says, and what was done to it.

    Transparency lies on white, 16-bit grey is divided by 257 and rounded, of several frames the first is taken.

    Raises:
        ValueError: for pixels that no rule brings to 8 bits.
    """
    mode, done = "L" if channels == 1 else "RGB", []
    if picture.format != "MPO" and getattr(picture, "is_animated", False):  # A phone's MPO has its preview as second.
        done.append("of several frames (the first is read)")
    turned = picture.format == "TIFF" and _orientation(picture) in range(2, 9)
    picture.load()  # Before the others are asked for their orientation; a TIFF is turned by this.
    if turned:
        done.append("turned as EXIF says")
    if _orientation(picture) in range(2, 9):
        picture = ImageOps.exif_transpose(picture)
        done.append("turned as EXIF says")
    if picture.mode.startswith(("I", "F")):
        picture = _to_eight_bits(picture)
        done.append("of 16 bits (scaled to 8)")
    elif picture.has_transparency_data:
        layered = picture.convert("RGBA")
        if layered.getchannel("A").getextrema() != (255, 255):
            picture = Image.alpha_composite(Image.new("RGBA", layered.size, WHITE), layered)
            done.append("transparent (laid on white)")
    elif picture.mode == "CMYK":
        done.append("of CMYK (converted without a profile)")
    return picture.convert(mode), done


def squared(picture: Image.Image, size: int, fit: str) -> Image.Image:
    """A picture as ``size`` x ``size`` pixels, bicubic; one that is square is resized alike by every ``fit``.

    ``crop``: the short side becomes ``size``, and the centre is kept (torchvision's ``Resize`` and ``CenterCrop``).
    ``squash``: both sides become ``size``. ``pad``: the long side becomes ``size``, with black on both sides of the
    other.

    Raises:
        ValueError: when a crop would need more pixels than any picture may have.
    """
    width, height = picture.size
    if fit == "squash" or width == height:
        return picture.resize((size, size), Image.Resampling.BICUBIC)
    if fit == "crop":
        short = min(width, height)
        wide, high = int(size * width / short), int(size * height / short)
        if max(wide, high) > 30 * size:
            raise ValueError(f"{width}x{height} pixels is too long to be cropped to a square; use dataset.fit=squash")
        left, top = round((wide - size) / 2), round((high - size) / 2)
        resized = picture.resize((wide, high), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + size, top + size))
    long = max(width, height)
    wide, high = max(1, round(size * width / long)), max(1, round(size * height / long))
    padded = Image.new(picture.mode, (size, size))
    resized = picture.resize((wide, high), Image.Resampling.BICUBIC)
    padded.paste(resized, ((size - wide) // 2, (size - high) // 2))
    return padded


def _orientation(picture: Image.Image) -> object:
    """EXIF's orientation; none where the EXIF is damaged, for the picture need not be."""
    try:
        return picture.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds.
        return None


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits, as 8."""
    deep = picture.mode in DEEP_MODES or (picture.mode == "I" and picture.format in ("PPM", "PNG"))
    if not deep:
        raise ValueError(f"pixels of 32 bits or fractions (mode {picture.mode}); save it with 8 or 16 bits")
    if "transparency" in picture.info:
        raise ValueError("16 bits with a transparent grey; save it with 8 bits")
    return Image.fromarray(np.rint(np.asarray(picture).astype(np.float64) / 257).clip(0, 255).astype(np.uint8))
