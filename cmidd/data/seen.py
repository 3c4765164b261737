"""What was seen while picture files were decoded, in words that a record keeps."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seen:
    """What was seen while pictures were decoded.

    Attributes:
        smallest, largest: width and height in pixels of the pictures with the fewest and the most, as they are shown.
        converted: how many pictures were converted how, in words.
    """

    smallest: tuple[int, int]
    largest: tuple[int, int]
    converted: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Seen":
        """What :func:`dataclasses.asdict` made of one, after it was JSON.

        Raises:
            KeyError, TypeError, ValueError: when it was not.
        """
        return cls(tuple(kept["smallest"]), tuple(kept["largest"]), dict(kept["converted"]))

    @classmethod
    def together(cls, seen: Iterable["Seen"]) -> "Seen":
        """Of all pictures; there must be one."""
        every, converted = list(seen), Counter[str]()
        for each in every:
            converted.update(each.converted)
        sizes = sorted(
            (size for each in every for size in (each.smallest, each.largest)), key=lambda s: (s[0] * s[1], s)
        )
        return cls(sizes[0], sizes[-1], dict(sorted(converted.items())))

    def __str__(self) -> str:
        smallest, largest = (f"{width}x{height}" for width, height in (self.smallest, self.largest))
        text = f"pictures of {smallest}" + (f" to {largest}" if largest != smallest else "")
        return text + "".join(f", {count} {how}" for how, count in self.converted.items())
