"""Test-time augmentation: predict several versions of a batch, merge the predictions."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.model.base_model import BaseModel
from mm2pl.registry import MODELS


@MODELS.register_module()
class BaseTTAModel(BaseModel):
    """Base of models for test-time augmentation; stands for `mmengine.model.BaseTTAModel`.

    A batch holds one list per augmentation: ``dict(inputs=[[img1_flip, img2_flip], [img1, img2]], data_samples=...)``,
    or a tuple of such lists. A subclass writes :meth:`merge_preds`.

    Args:
        module: The model, or the dict to build it from.
        data_preprocessor: Put into that dict.

    Raises:
        ArgumentError: The wrapped model has no ``test_step``.
        TypeError: ``module`` is neither a module nor a dict.

    Example:
        >>> class Halves(BaseModel):
        ...     def forward(self, inputs, mode):
        ...         return [x / 2 for x in inputs]
        >>> class Mean(BaseTTAModel):
        ...     def merge_preds(self, data_samples_list):
        ...         return [sum(versions) / len(versions) for versions in data_samples_list]
        >>> Mean(Halves()).test_step(dict(inputs=[[2, 20], [6, 60]]))
        [2.0, 20.0]
    """

    def __init__(self, module: dict[str, Any] | nn.Module, data_preprocessor: Any = None) -> None:
        # No preprocessor of its own is used: `test_step` of the wrapped model preprocesses.
        super().__init__()
        self.module: Any
        if isinstance(module, nn.Module):
            self.module = module
        elif isinstance(module, dict):
            if data_preprocessor is not None:
                # MMEngine 0.10.7 writes into the config itself; a second build of it would find the key.
                module = module.copy()
                module["data_preprocessor"] = data_preprocessor
            self.module = MODELS.build(module)
        else:
            raise ArgumentError(
                f"The type of module should be a `nn.Module` instance or a dict, but got {module!r}"
            )
        if not hasattr(self.module, "test_step"):
            raise ArgumentError(
                f"{type(self.module).__name__} has no test_step: a model wrapped by BaseTTAModel must implement it"
            )

    @abstractmethod
    def merge_preds(self, data_samples_list: list[tuple[Any, ...]]) -> list[Any]:
        """Merge predictions.

        Args:
            data_samples_list: For each sample the predictions of all its versions.

        Returns:
            One prediction per sample.
        """

    def test_step(self, data: Any) -> Any:
        """Predict each version by ``test_step`` of the model, and return the merged predictions.

        ``data`` is a batch of versions: each field holds one value per version.

        Raises:
            TypeError: The batch is not a dict, list or tuple.
            ValueError: The versions have different numbers of predictions.
        """
        versions: list[Any]
        if isinstance(data, dict):
            # MMEngine counts the versions by the first key;
            # `pseudo_collate` has made the list of versions the outer one.
            count = len(next(iter(data.values())))
            versions = [{key: value[i] for key, value in data.items()} for i in range(count)]
        elif isinstance(data, (tuple, list)):
            versions = [[part[i] for part in data] for i in range(len(data[0]))]
        else:
            raise ArgumentError(
                f"data given by the dataloader should be a dict, tuple or list, but got {type(data)}"
            )
        predictions = [self.module.test_step(version) for version in versions]
        sizes = [len(prediction) for prediction in predictions]
        if len(set(sizes)) > 1:
            raise ArgumentError(
                f"the versions of a batch have {sizes} predictions: each augmentation must give as many"
            )
        return self.merge_preds(list(zip(*predictions, strict=True)))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Raise: only :meth:`test_step` is called."""
        raise NotImplementedError(
            "`BaseTTAModel.forward` will not be called during training or testing. Please call `test_step` instead. If "
            "you want to use `BaseTTAModel.forward`, please implement this method"
        )
