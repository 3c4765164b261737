"""The types of settings: their ranges are checked wherever a config, a file or a class names them."""

from os.path import expanduser
from typing import Annotated

from pydantic import AfterValidator, Field

# A file or folder: the empty text would be the current folder, and no path holds a zero byte. A shell expands ~ in
# some places only.
PathText = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]*$"), AfterValidator(expanduser)]
# A name that becomes part of a file's name: it must not lead into another folder.
Name = Annotated[str, Field(max_length=100, pattern=r"^\w[\w+-]*$")]
Accuracies = Annotated[list[Annotated[float, Field(strict=True, ge=0, le=100)]], Field(min_length=1)]
Number = Annotated[str, Field(pattern=r"^\d{1,10}$")]  # JSON's keys are text
Count = Annotated[int, Field(strict=True, gt=0, le=10**9)]
# Strict: true is no number.
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1)]
DEVICE = r"^(auto|cpu|cuda|cuda:\d{1,3}|mps|free_gpu)$"
Device = Annotated[str, Field(pattern=DEVICE)]
Side = Annotated[int, Field(strict=True, ge=8, le=1024)]
