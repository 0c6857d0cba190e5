"""What happens to a batch between the loader and ``forward``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from mm2pl.errors import ArgumentError
from mm2pl.model.utils import stack_batch
from mm2pl.registry import MODELS
from mm2pl.structures import is_data_element
from mm2pl.utils import is_seq_of


@MODELS.register_module()
class BaseDataPreprocessor(nn.Module):
    """Move a batch to the device of the model; stands for `mmengine.model.BaseDataPreprocessor`.

    The device is that of a buffer without elements, so it is right however the module was moved: by itself, with the
    model, or by a Trainer. The buffer is not saved.

    Args:
        non_blocking: Copy without waiting. Tensors in pinned memory are copied so anyway.

    Example:
        >>> BaseDataPreprocessor().to("meta")({"img": torch.zeros(2), "path": "1.png"})
        {'img': tensor(..., device='meta', size=(2,)), 'path': '1.png'}
    """

    _here: torch.Tensor

    def __init__(self, non_blocking: bool | None = False) -> None:
        super().__init__()
        self._non_blocking = bool(non_blocking)
        # MMEngine 0.10.7 overrides `to` and `cuda`, which a move of
        # the parent module does not call: nn.Module moves buffers.
        self.register_buffer("_here", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where batches are moved to."""
        return self._here.device

    @property
    def _device(self) -> torch.device:
        return self._here.device

    @_device.setter
    def _device(self, device: torch.device | str | int) -> None:
        """Send batches elsewhere; MMEngine's name, which projects set directly."""
        self._here = self._here.to(device)

    def cast_data(self, data: Any) -> Any:
        """Return ``data`` with all tensors and data elements on :attr:`device`.

        Mappings become dicts; sequences and named tuples keep their type; everything else stays as it is.
        """
        if isinstance(data, torch.Tensor):
            device = self.device
            if data.device == device:
                return data
            # Only from pinned memory can CUDA copy while the program goes on.
            return data.to(device, non_blocking=self._non_blocking or data.is_pinned())
        kind: Any = type(data)
        # Before the questions that follow, which would take longer than the work.
        if kind is list or kind is tuple:
            return kind([self.cast_data(part) for part in data])
        if is_data_element(data):
            return data.to(self.device, non_blocking=self._non_blocking)
        if isinstance(data, Mapping):
            return {key: self.cast_data(value) for key, value in data.items()}
        # A string is a Sequence of strings: without this the recursion would not end.
        if isinstance(data, (str, bytes)) or not isinstance(data, Sequence):
            return data
        parts = (self.cast_data(part) for part in data)
        return kind(*parts) if hasattr(data, "_fields") else kind(parts)

    def forward(self, data: Any, training: bool = False) -> Any:
        """Return what the model's ``forward`` gets, unpacked.

        Args:
            data: A batch as the loader gives it.
            training: Whether it is a training batch, for subclasses that augment.
        """
        return self.cast_data(data)


@MODELS.register_module()
class ImgDataPreprocessor(BaseDataPreprocessor):
    """Normalise, pad and stack images; stands for `mmengine.model.ImgDataPreprocessor`.

    A batch is a dict whose ``inputs`` is a list of ``(C, H, W)`` tensors of any sizes, or one ``(N, C, H, W)`` tensor;
    it leaves as a float tensor ``(N, C, H', W')``, padded at the right and at the bottom. The channels are reversed
    first, so ``mean`` and ``std`` are in the order in which the model sees them.

    Args:
        mean: Per channel: 3 values, or 1 for all.
        std: As ``mean``; both or neither.
        pad_size_divisor: ``H'`` and ``W'`` are multiples of it.
        pad_value: Fills what is padded, after normalisation.
        bgr_to_rgb: Reverse the three channels.
        rgb_to_bgr: The same; one of the two at most.
        non_blocking: See :class:`BaseDataPreprocessor`.

    Raises:
        ArgumentError: Both reversals of channels are wanted, or ``mean`` and ``std`` do not fit
            together.

    Example:
        >>> preprocess = ImgDataPreprocessor(mean=[1], std=[2], pad_size_divisor=2)
        >>> preprocess({"inputs": [torch.full((1, 1, 3), 5, dtype=torch.uint8)]})["inputs"]
        tensor([[[[2., 2., 2., 0.],
                  [0., 0., 0., 0.]]]])
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        non_blocking: bool | None = False,
    ) -> None:
        super().__init__(non_blocking)
        if bgr_to_rgb and rgb_to_bgr:
            raise ArgumentError(
                "`bgr2rgb` and `rgb2bgr` are the same reversal of channels: set either bgr_to_rgb or rgb_to_bgr"
            )
        if (mean is None) != (std is None):
            raise ArgumentError(
                f"mean and std should be both given or both None, but got {mean!r} and {std!r}"
            )
        self._enable_normalize = mean is not None
        for name, values in (("mean", mean), ("std", std)) if mean is not None else ():
            if len(values) not in (1, 3):  # type: ignore[arg-type]
                raise ArgumentError(
                    f"`{name}` should have 1 or 3 values, for gray or colour images, but got {values!r}"
                )
            # Not saved, as in MMEngine: a checkpoint's weights load with any normalisation.
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        self._channel_conversion = rgb_to_bgr or bgr_to_rgb
        self.pad_size_divisor = pad_size_divisor
        self.pad_value = pad_value

    def forward(self, data: Any, training: bool = False) -> Any:
        """Return the batch with ``inputs`` as one tensor, and ``data_samples`` None where it has none.

        Raises:
            TypeError: The batch is not a dict, or ``inputs`` neither a tensor nor a sequence of tensors.
        """
        data = self.cast_data(data)
        if not isinstance(data, dict) or "inputs" not in data:
            given = list(data) if isinstance(data, dict) else type(data).__name__
            raise ArgumentError(
                f"{type(self).__name__} needs a batch that is a dict with 'inputs', but got {given}: write a "
                f"collate_fn that makes one, or use BaseDataPreprocessor"
            )
        inputs = data["inputs"]
        if is_seq_of(inputs, torch.Tensor):
            images = [self._normalized(image, channel_dim=0) for image in inputs]
            data["inputs"] = stack_batch(images, self.pad_size_divisor, self.pad_value)
        elif not isinstance(inputs, torch.Tensor):
            raise ArgumentError(
                f"data['inputs'] should be a tensor or a sequence of tensors, but got "
                f"{type(inputs).__name__}: {inputs!r}"
            )
        elif inputs.dim() != 4:
            raise ArgumentError(
                f"data['inputs'] should be an (N, C, H, W) tensor or a list of (C, H, W) tensors, but got a tensor of "
                f"shape {tuple(inputs.shape)}"
            )
        else:
            height, width = inputs.shape[2:]
            pads = (0, -width % self.pad_size_divisor, 0, -height % self.pad_size_divisor)
            data["inputs"] = F.pad(self._normalized(inputs, 1), pads, value=self.pad_value)
        # MMEngine adds the key too: a `forward` without a default for `data_samples` can then be called.
        data.setdefault("data_samples", None)
        return data

    def _normalized(self, image: torch.Tensor, channel_dim: int) -> torch.Tensor:
        """Reverse the channels, make it float (after the move: bytes travel cheaper), normalise."""
        if self._channel_conversion:
            if image.dim() <= channel_dim or image.shape[channel_dim] < 3:
                raise ArgumentError(
                    f"channels cannot be reversed in a tensor of shape {tuple(image.shape)}: leave out bgr_to_rgb and "
                    f"rgb_to_bgr for gray images"
                )
            # MMEngine indexes [2, 1, 0]: a fourth channel is dropped, not kept.
            image = image.narrow(channel_dim, 0, 3).flip(channel_dim)
        image = image.float()
        if not self._enable_normalize:
            return image
        # In an (N, C, H, W) tensor a single channel is repeated, as in MMEngine.
        accepted = {3} if channel_dim == 0 else {1, 3}
        if len(self.mean) == 3 and (
            image.dim() != 3 + channel_dim or image.shape[channel_dim] not in accepted
        ):
            raise ArgumentError(
                f"If the mean has 3 values, every image should have shape (3, H, W), but got a tensor of shape "
                f"{tuple(image.shape)}"
            )
        # A division, not a multiplication by 1 / std: that would round differently from MMEngine.
        return (image - self.mean) / self.std
