"""One stage: the whole set is trained at once."""

from cmidd.core.schedule import Schedule


class Whole(Schedule):
    """One stage: the plain method."""

    def __init__(self) -> None: ...

    def sizes(self, ipc: int) -> list[int]:
        return [ipc]
