"""Colours, images and arguments of the drawing methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

Types = type | tuple[type, ...]


def tensor2ndarray(value: np.ndarray | torch.Tensor) -> np.ndarray:
    """Return ``value`` as an array on the CPU."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def value2list(value: Any, valid_type: Types, expand_dim: int) -> list:
    """Repeat a single value of ``valid_type``; anything else is returned as it is.

    >>> value2list("r", str, 3), value2list(["r", "g"], str, 2)
    (['r', 'r', 'r'], ['r', 'g'])
    """
    return [value] * expand_dim if isinstance(value, valid_type) else value


def check_type(name: str, value: object, valid_type: Types) -> None:
    """Raise a TypeError unless ``value`` is of ``valid_type``."""
    if not isinstance(value, valid_type):
        raise ArgumentError(f"`{name}` should be {valid_type}  but got {type(value)}")


def check_length(name: str, value: object, valid_length: int) -> None:
    """Raise an error if ``value`` is a list that is too short."""
    # A longer list passes, as in MMEngine: palettes often have more colours than are needed.
    if isinstance(value, list) and len(value) < valid_length:
        raise ArgumentError(
            f"The length of {name} must equal with or greater than {valid_length}, "
            f"but got {len(value)}"
        )


def check_type_and_length(name: str, value: object, valid_type: Types, valid_length: int) -> None:
    """Check both: see :func:`check_type` and :func:`check_length`."""
    check_type(name, value, valid_type)
    check_length(name, value, valid_length)


def color_val_matplotlib(colors: str | tuple | list) -> Any:
    """Convert ``(R, G, B)`` in ``[0, 255]`` to Matplotlib's ``[0, 1]``; names stay names.

    Raises:
        TypeError: The colour is of another kind.

    >>> color_val_matplotlib([(255, 0, 0), "g"])
    [(1.0, 0.0, 0.0), 'g']
    """
    if isinstance(colors, str):
        return colors
    if isinstance(colors, list):
        return [color_val_matplotlib(color) for color in colors]
    if not isinstance(colors, tuple):
        raise ArgumentError(
            f"Invalid type for color: {type(colors)}; a name or (R, G, B) is needed"
        )
    check_rgb(colors)
    return tuple(channel / 255 for channel in colors)


def check_rgb(color: tuple) -> None:
    """Raise an error unless ``color`` is three numbers in ``[0, 255]``."""
    if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
        raise ArgumentError(f"color {color!r} is not (R, G, B) with values in [0, 255]")


def color_str2rgb(color: str) -> tuple[int, ...]:
    """Return ``(R, G, B)`` in ``[0, 255]`` for a name Matplotlib knows, without its alpha."""
    from matplotlib.colors import to_rgb

    # Cut off, not rounded, as in MMEngine: "g" is (0, 127, 0).
    return tuple(int(channel * 255) for channel in to_rgb(color))


def blend(first: np.ndarray, second: np.ndarray, alpha: float) -> np.ndarray:
    """Mix two images of bytes: ``(1 - alpha) * first + alpha * second``, rounded."""
    # In float32 and rounded to even: bit for bit what OpenCV's addWeighted gives.
    mixed = first.astype(np.float32) * np.float32(1 - alpha) + second * np.float32(alpha)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


def jet(image: np.ndarray) -> np.ndarray:
    """Colour bytes from blue over green to red, as OpenCV's ``COLORMAP_JET`` does.

    >>> jet(np.array([0, 127, 255], dtype=np.uint8)).tolist()
    [[0, 0, 128], [126, 255, 130], [128, 0, 0]]
    """
    level = np.arange(256)
    red = np.minimum(4 * level - 382, 4 * (287 - level))
    green = np.minimum(4 * (level - 32), 4 * (223 - level))
    blue = np.minimum(4 * level + 128, 638 - 4 * level)
    blue[159] = 1  # OpenCV's own rounding
    table = np.stack([red, green, blue], axis=1).clip(0, 255).astype(np.uint8)
    return table[image]


def convert_overlay_heatmap(
    feat_map: np.ndarray | torch.Tensor, img: np.ndarray | None = None, alpha: float = 0.5
) -> np.ndarray:
    """Return ``(H, W, 3)``: a feature map ``(H, W)`` in colours, mixed into ``img`` if given.

    ``(3, H, W)`` is taken as a colour image: its channels are coloured by themselves and then
    only the first colour of each counts, as in OpenCV.

    Raises:
        ArgumentError: ``feat_map`` has another shape.
    """
    values = tensor2ndarray(feat_map)
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = values.transpose(1, 2, 0)
    elif values.ndim != 2:
        raise ArgumentError(
            f"feat_map has the shape {values.shape}; (H, W), (1, H, W) or (3, H, W) is needed"
        )
    low, high = float(values.min()), float(values.max())
    # A flat map becomes 0, as from OpenCV's normalize.
    scale = 255.0 / (high - low) if high > low else 0.0
    levels = (values * scale - low * scale).astype(np.uint8)
    if levels.ndim == 3:
        # OpenCV's applyColorMap turns colours into grey first.
        levels = _gray(levels) if levels.shape[2] == 3 else levels[..., 0]
    heat = jet(levels)
    return heat if img is None else blend(img, heat, alpha)


def _gray(image: np.ndarray) -> np.ndarray:
    """Weigh blue, green and red of ``(H, W, 3)`` into grey, in OpenCV's channel order."""
    return np.rint(image @ np.array([0.114, 0.587, 0.299])).astype(np.uint8)


def img_from_canvas(canvas: FigureCanvasAgg) -> np.ndarray:
    """Render a Matplotlib canvas to an RGB image ``(H, W, 3)``."""
    buffer, (width, height) = canvas.print_to_buffer()
    rgba = np.frombuffer(buffer, dtype=np.uint8).reshape(height, width, 4)
    # `np.frombuffer` of bytes is read-only, and callers draw on the image.
    return rgba[..., :3].copy()


def wait_continue(figure: Figure, timeout: float = 0, continue_key: str = " ") -> int:
    """Show a figure until a key is pressed, the window is closed, or ``timeout`` seconds pass.

    Returns:
        1 if the user closed the window, else 0. A zero ``timeout`` waits for ever.
    """
    import matplotlib.pyplot as plt
    from matplotlib.backend_bases import CloseEvent

    if "inline" in plt.get_backend():
        return 0
    if figure.canvas.manager:
        figure.show()
    while True:
        seen: list[Any] = []

        # Bound now: the loop makes another list each time.
        def note(event: Any, seen: Any = seen) -> None:
            seen.append(event)
            figure.canvas.stop_event_loop()

        connections = [
            figure.canvas.mpl_connect("key_press_event", note),
            figure.canvas.mpl_connect("close_event", note),
        ]
        try:
            figure.canvas.start_event_loop(timeout)
        finally:
            for connection in connections:
                figure.canvas.mpl_disconnect(connection)
        if any(isinstance(event, CloseEvent) for event in seen):
            return 1
        # No event means that the time is up. Any other key goes on waiting.
        if not seen or seen[-1].key == continue_key:
            return 0
