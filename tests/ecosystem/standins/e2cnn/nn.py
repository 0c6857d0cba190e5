"""What MMRotate's layers derive from."""

from torch import nn

FieldType = GeometricTensor = object


class EquivariantModule(nn.Module):
    """No layer of a run."""
