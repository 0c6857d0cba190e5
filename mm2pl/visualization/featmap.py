"""Feature maps as images of heat colours."""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F

from mm2pl.errors import ArgumentError
from mm2pl.visualization.utils import convert_overlay_heatmap, img_from_canvas


def heat_image(
    featmap: torch.Tensor,
    overlaid_image: np.ndarray | None,
    channel_reduction: str | None,
    topk: int,
    arrangement: tuple[int, int],
    resize_shape: tuple[int, int] | None,
    alpha: float,
) -> np.ndarray:
    """Return ``(H, W, 3)`` for a map ``(C, H, W)``: see ``Visualizer.draw_featmap``.

    Raises:
        ArgumentError: ``featmap`` is not a tensor with three dimensions.
    """
    if not isinstance(featmap, torch.Tensor):
        raise ArgumentError(f"`featmap` should be torch.Tensor, but got {type(featmap)}")
    if featmap.ndim != 3:
        raise ArgumentError(
            f"Input dimension must be 3, but got {featmap.ndim}: (C, H, W) is needed"
        )
    values = featmap.detach().cpu()
    image = overlaid_image
    if image is not None:
        image = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image
        if image.shape[:2] != values.shape[1:]:
            warnings.warn(
                f"Since the spatial dimensions of overlaid_image: {image.shape[:2]} and "
                f"featmap: {values.shape[1:]} are not same, the feature map will be "
                "interpolated. This may cause mismatch problems !",
                stacklevel=5,
            )
    # `resize_shape` wins over the image, which is then resized itself.
    size = resize_shape or (image.shape[:2] if image is not None else None)
    if size is not None:
        values = _scaled(values, size)
    if image is not None and resize_shape is not None:
        resized = _scaled(torch.from_numpy(image).permute(2, 0, 1).float(), resize_shape)
        # Rounded: `byte()` alone cuts off, and OpenCV's resize, which MMEngine uses, rounds.
        image = resized.permute(1, 2, 0).round().byte().numpy()
    if channel_reduction is None and topk > 0:
        return _channel_grid(values, image, topk, arrangement, alpha)
    return convert_overlay_heatmap(_reduced(values, channel_reduction), image, alpha)


def _scaled(values: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    return F.interpolate(values[None], size, mode="bilinear", align_corners=False)[0]


def _reduced(values: torch.Tensor, channel_reduction: str | None) -> torch.Tensor:
    if channel_reduction == "squeeze_mean":
        return values.mean(dim=0)
    if channel_reduction == "select_max":
        # By the signed sum, as in MMEngine: a channel of large negative values comes last.
        return values[values.sum(dim=(1, 2)).argmax()]
    if channel_reduction is not None:
        raise ArgumentError(
            'Mode only support "squeeze_mean", "select_max", '
            f"but got channel_reduction={channel_reduction!r}"
        )
    if values.shape[0] not in (1, 3):
        raise ArgumentError(
            "The input tensor channel dimension must be 1 or 3 when topk is less than 1, but the "
            f"channel dimension you input is {values.shape[0]}, you can use the channel_reduction "
            "parameter or set topk greater than 0 to solve the error"
        )
    return values


def _channel_grid(
    values: torch.Tensor,
    image: np.ndarray | None,
    topk: int,
    arrangement: tuple[int, int],
    alpha: float,
) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = arrangement
    if rows * columns < topk:
        raise ArgumentError(
            "The product of row and col in the `arrangement` is less than topk, please set the "
            f"`arrangement` correctly: arrangement={arrangement}, topk={topk}"
        )
    height, width = values.shape[1:]
    # Not by pyplot, which keeps every figure until it is closed, and may open a window.
    figure = Figure(frameon=False)
    canvas = FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0, hspace=0)
    dpi = figure.get_dpi()
    # MMEngine's 1e-2: 29 / 100 * 100 is below 29, and would lose a pixel where Matplotlib cuts off.
    # Matplotlib 3.11 itself no longer needs it.
    figure.set_size_inches((width * columns + 1e-2) / dpi, (height * rows + 1e-2) / dpi)
    # `Tensor.topk` refuses a number above that of the channels; 20 is the default.
    order = values.sum(dim=(1, 2)).topk(min(len(values), topk)).indices.tolist()
    for place, channel in enumerate(order, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.axis("off")
        axes.text(2, 15, f"channel: {channel}", fontsize=10)
        axes.imshow(convert_overlay_heatmap(values[channel], image, alpha))
    return img_from_canvas(canvas)
