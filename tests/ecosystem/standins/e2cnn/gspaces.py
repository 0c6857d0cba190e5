"""What MMRotate makes when it is imported."""


class Rot2dOnR2:
    """A group of rotations."""

    def __init__(self, N: int) -> None:
        self.rotations = N
