"""Labels of a whole sample."""

from __future__ import annotations

import torch

from mm2pl.errors import ArgumentError
from mm2pl.structures.base_data_element import BaseDataElement


class LabelData(BaseDataElement):
    """A data element for classification; stands for `mmengine.structures.LabelData`.

    The arguments are those of `BaseDataElement`.
    """

    @staticmethod
    def onehot_to_label(onehot: torch.Tensor) -> torch.Tensor:
        """Return the indices of the ones.

        Raises:
            ValueError: ``onehot`` is not a vector of numbers from 0 to 1.

        Example:
            >>> LabelData.onehot_to_label(torch.tensor([0, 1, 1]))
            tensor([1, 2])
        """
        if not isinstance(onehot, torch.Tensor):
            raise ArgumentError(f"onehot should be a tensor, but got {type(onehot)}")
        # As in MMEngine 0.10.7, a fraction passes and counts as a one.
        if onehot.ndim != 1 or onehot.max().item() > 1 or onehot.min().item() < 0:
            raise ValueError(f"input is not one-hot and can not convert to label: {onehot}")
        return onehot.nonzero().squeeze(-1)

    @staticmethod
    def label_to_onehot(label: torch.Tensor, num_classes: int) -> torch.Tensor:
        """Return a vector of ``num_classes`` zeros with ones at the indices in ``label``.

        Raises:
            ArgumentError: ``label`` is not a tensor, or a label is not a class.

        Example:
            >>> LabelData.label_to_onehot(torch.tensor([1, 2]), num_classes=3)
            tensor([0, 1, 1])
        """
        if not isinstance(label, torch.Tensor):
            raise ArgumentError(f"label should be a tensor, but got {type(label)}")
        # Only the upper end is checked, as in MMEngine 0.10.7: -1 marks the last class.
        if len(label) and label.max().item() >= num_classes:
            raise ArgumentError(f"label {label} does not fit into {num_classes} classes")
        onehot = label.new_zeros((num_classes,))
        onehot[label] = 1
        return onehot
