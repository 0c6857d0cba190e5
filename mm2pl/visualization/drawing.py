"""Draw boxes, texts, lines, points, circles, polygons, masks and feature maps with Matplotlib."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.dist import master_only
from mm2pl.errors import ArgumentError
from mm2pl.visualization.featmap import heat_image
from mm2pl.visualization.utils import (
    blend,
    check_rgb,
    check_type,
    check_type_and_length,
    color_str2rgb,
    color_val_matplotlib,
    tensor2ndarray,
    value2list,
)

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray | torch.Tensor
Colors = str | tuple | list
Widths = int | float | list[int | float]


class Drawing:
    """Draw onto ``ax_save``; every method returns the visualizer, so that calls can be chained.

    Coordinates are pixels, x to the right and y down; colours are Matplotlib's names or RGB in
    ``[0, 255]``, one for all or one each.
    """

    ax_save: Any
    width: int
    height: int
    _default_font_size: float

    def get_image(self) -> np.ndarray:
        """Return what has been drawn, RGB ``(H, W, 3)``."""
        raise NotImplementedError

    def _is_posion_valid(self, position: np.ndarray) -> bool:
        """Return whether all ``(…, 2)`` positions are in the image; MMEngine spells it so."""
        x, y = position[..., 0], position[..., 1]
        # MMEngine's bounds: a point on the right or lower border warns, and so does the box of the whole image.
        return bool(((x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)).all())

    def _warn_outside(self, what: str, *positions: np.ndarray) -> None:
        if not all(self._is_posion_valid(position) for position in positions):
            warnings.warn(
                f"Warning: The {what} is out of bounds, the drawn {what} may not be in the image",
                stacklevel=5,
            )

    def _widths(self, widths: Widths, count: int) -> list[float]:
        each = value2list(widths, (int, float), count)
        # MMEngine's limits: a line must be seen, and must not hide a small image.
        return [min(max(width, 1), self._default_font_size / 4) for width in each]

    @master_only
    def draw_points(
        self,
        positions: Array,
        colors: Colors = "g",
        marker: str | None = None,
        sizes: Array | None = None,
    ) -> Self:
        """Draw points ``(2,)`` or ``(N, 2)``; ``marker`` and ``sizes`` are Matplotlib's."""
        points = _rows("positions", positions, 2)
        self.ax_save.scatter(
            points[:, 0], points[:, 1], c=color_val_matplotlib(colors), s=sizes, marker=marker
        )
        return self

    @master_only
    def draw_texts(
        self,
        texts: str | list[str],
        positions: Array,
        font_sizes: int | list[int] | None = None,
        colors: Colors = "g",
        vertical_alignments: str | list[str] = "top",
        horizontal_alignments: str | list[str] = "left",
        font_families: str | list[str] = "sans-serif",
        bboxes: dict | list[dict] | None = None,
        font_properties: Any = None,
    ) -> Self:
        """Write texts at ``(N, 2)`` positions; all else is Matplotlib's, one for all or one each.

        ``bboxes`` are properties of the box around a text; ``font_properties`` (a
        ``FontProperties``) can name a font file, as Chinese texts need.

        Raises:
            ArgumentError: There is not one position per text.
        """
        from matplotlib.font_manager import FontProperties

        # Not a tuple: MMEngine takes a str or a list.
        check_type("texts", texts, (str, list))
        each = [texts] if isinstance(texts, str) else texts
        points = _rows("positions", positions, 2)
        if len(points) != len(each):
            raise ArgumentError(
                f"`positions` should have the shape of ({len(each)}, 2), but got {points.shape}"
            )
        self._warn_outside("text", points)
        # Known only after `set_image`: the size follows the image's.
        sizes = self._default_font_size if font_sizes is None else font_sizes
        styles = {
            "size": ("font_sizes", sizes, (int, float)),
            "bbox": ("bboxes", bboxes, (dict, type(None))),
            "verticalalignment": ("vertical_alignments", vertical_alignments, str),
            "horizontalalignment": ("horizontal_alignments", horizontal_alignments, str),
            "family": ("font_families", font_families, str),
            # Matplotlib gives a FontProperties the lowest priority: `size` and `family` of above win.
            "fontproperties": (
                "font_properties",
                font_properties,
                (FontProperties, type(None)),
            ),
            "color": ("colors", color_val_matplotlib(colors), (str, tuple)),
        }
        columns = {key: _each(*style, len(each)) for key, style in styles.items()}
        for index, (text, point) in enumerate(zip(each, points.tolist(), strict=True)):
            style = {key: column[index] for key, column in columns.items()}
            self.ax_save.text(*point, text, **style)
        return self

    @master_only
    def draw_lines(
        self,
        x_datas: Array,
        y_datas: Array,
        colors: Colors = "g",
        line_styles: str | list[str] = "-",
        line_widths: Widths = 2,
    ) -> Self:
        """Draw lines from start to end; ``x_datas`` and ``y_datas`` are ``(2,)`` or ``(N, 2)``.

        Raises:
            ArgumentError: The coordinates differ in shape.
        """
        from matplotlib.collections import LineCollection

        x, y = _rows("x_datas", x_datas, 2), _rows("y_datas", y_datas, 2)
        if x.shape != y.shape:
            raise ArgumentError(
                f"`x_datas` and `y_datas` should have the same shape, but got {x.shape}, {y.shape}"
            )
        lines = np.stack([x, y], axis=-1)
        self._warn_outside("line", lines)
        collection = LineCollection(
            list(lines),
            colors=color_val_matplotlib(colors),
            linestyles=line_styles,
            # Not limited, unlike the other shapes' widths: so in MMEngine.
            linewidths=line_widths,
        )
        self.ax_save.add_collection(collection)
        return self

    @master_only
    def draw_circles(
        self,
        center: Array,
        radius: Array,
        edge_colors: Colors = "g",
        line_styles: str | list[str] = "-",
        line_widths: Widths = 2,
        face_colors: Colors = "none",
        alpha: float = 0.8,
    ) -> Self:
        """Draw circles around ``(2,)`` or ``(N, 2)`` centres with radii ``(N,)``.

        Raises:
            ArgumentError: There is not one centre per radius.
        """
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Circle

        centers = _rows("center", center, 2)
        check_type("radius", radius, (np.ndarray, torch.Tensor))
        radii = tensor2ndarray(radius)
        if centers.shape != (radii.shape[0], 2):
            raise ArgumentError(
                f"The shape of `center` should be ({radii.shape[0]}, 2), but got {centers.shape}"
            )
        # The corners of the square around it, as in MMEngine.
        self._warn_outside("circle", centers - radii[:, None], centers + radii[:, None])
        circles = [
            Circle(tuple(c), r) for c, r in zip(centers.tolist(), radii.tolist(), strict=True)
        ]
        collection = PatchCollection(
            circles,
            alpha=alpha,
            facecolors=color_val_matplotlib(face_colors),
            edgecolors=color_val_matplotlib(edge_colors),
            linewidths=self._widths(line_widths, len(circles)),
            linestyles=line_styles,
        )
        self.ax_save.add_collection(collection)
        return self

    @master_only
    def draw_bboxes(
        self,
        bboxes: Array,
        edge_colors: Colors = "g",
        line_styles: str | list[str] = "-",
        line_widths: Widths = 2,
        face_colors: Colors = "none",
        alpha: float = 0.8,
    ) -> Self:
        """Draw boxes ``(x1, y1, x2, y2)``, of shape ``(4,)`` or ``(N, 4)``.

        Raises:
            ArgumentError: A box ends before it begins.
        """
        boxes = _rows("bboxes", bboxes, 4)
        if not (boxes[:, :2] <= boxes[:, 2:]).all():
            raise ArgumentError(
                f"bboxes should be (x1, y1, x2, y2) with x1 <= x2, y1 <= y2: {boxes}"
            )
        self._warn_outside("bbox", boxes.reshape(-1, 2, 2))
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
        # Not by `draw_polygons`, which would warn a second time; MMEngine 0.10.7 does.
        return self._add_polygons(
            list(corners), edge_colors, line_styles, line_widths, face_colors, alpha
        )

    @master_only
    def draw_polygons(
        self,
        polygons: Array | list[Array],
        edge_colors: Colors = "g",
        line_styles: str | list[str] = "-",
        line_widths: Widths = 2,
        face_colors: Colors = "none",
        alpha: float = 0.8,
    ) -> Self:
        """Draw one polygon ``(M, 2)`` or a list of them.

        Raises:
            ArgumentError: A polygon has another shape than (M, 2).
        """
        check_type("polygons", polygons, (list, np.ndarray, torch.Tensor))
        given = polygons if isinstance(polygons, list) else [polygons]
        each = [tensor2ndarray(polygon) for polygon in given]
        for polygon in each:
            if polygon.ndim != 2 or polygon.shape[1] != 2:
                raise ArgumentError(
                    "The shape of each polygon in `polygons` should be (M, 2), "
                    f"but got {polygon.shape}"
                )
        self._warn_outside("polygon", *each)
        return self._add_polygons(each, edge_colors, line_styles, line_widths, face_colors, alpha)

    def _add_polygons(
        self,
        each: list[np.ndarray],
        edge_colors: Colors,
        line_styles: str | list[str],
        line_widths: Widths,
        face_colors: Colors,
        alpha: float,
    ) -> Self:
        from matplotlib.collections import PolyCollection

        collection = PolyCollection(
            each,
            alpha=alpha,
            # Matplotlib takes the singular for all polygons or a list for each.
            facecolor=color_val_matplotlib(face_colors),
            linestyles=line_styles,
            edgecolors=color_val_matplotlib(edge_colors),
            linewidths=self._widths(line_widths, len(each)),
        )
        self.ax_save.add_collection(collection)
        return self

    @master_only
    def draw_binary_masks(
        self, binary_masks: Array, colors: Colors = "g", alphas: float | list[float] = 0.8
    ) -> Self:
        """Mix colours into the pixels of boolean masks ``(H, W)`` or ``(N, H, W)``.

        Raises:
            ArgumentError: The masks are not boolean, or of another size than the image.
        """
        check_type("binary_masks", binary_masks, (np.ndarray, torch.Tensor))
        masks = tensor2ndarray(binary_masks)
        if masks.dtype != np.bool_:
            raise ArgumentError(
                f"The dtype of binary_masks should be np.bool_, but got {masks.dtype}"
            )
        masks = masks[None] if masks.ndim == 2 else masks
        # Masks are pixels and not shapes, so they are mixed into what has been drawn so far.
        image = self.get_image()
        if image.shape[:2] != masks.shape[1:]:
            raise ArgumentError(
                "`binary_masks` must have the same shape with image, "
                f"but got {masks.shape[1:]} and {image.shape[:2]}"
            )
        each = _each("colors", colors, (str, tuple), len(masks))
        # Not strict: `check_length` lets a list of colours be longer than the masks.
        for mask, color, alpha in zip(
            masks, each, value2list(alphas, float, len(masks)), strict=False
        ):
            rgb = color_str2rgb(color) if isinstance(color, str) else color
            check_rgb(rgb)
            painted = image.copy()
            painted[mask] = rgb
            image = blend(image, painted, alpha)
        self.ax_save.imshow(image, extent=(0, self.width, self.height, 0), interpolation="nearest")
        return self

    # Without an instance, as in MMEngine: toolboxes call `Visualizer.draw_featmap(...)`.
    @staticmethod
    @master_only
    def draw_featmap(
        featmap: torch.Tensor,
        overlaid_image: np.ndarray | None = None,
        channel_reduction: str | None = "squeeze_mean",
        topk: int = 20,
        arrangement: tuple[int, int] = (4, 5),
        resize_shape: tuple[int, int] | None = None,
        alpha: float = 0.5,
    ) -> np.ndarray:
        """Return a feature map ``(C, H, W)`` as an RGB image of heat colours.

        Args:
            featmap: what to show.
            overlaid_image: an image to mix it into; the map is scaled to its size.
            channel_reduction: ``"squeeze_mean"``, ``"select_max"`` (the channel with the largest
                sum) or None, to show several channels.
            topk: how many channels with the largest sums; 0 or less shows 1 or 3 channels as one.
            arrangement: rows and columns of the channels.
            resize_shape: height and width to scale both to.
            alpha: the weight of the map over the image.
        """
        return heat_image(
            featmap, overlaid_image, channel_reduction, topk, arrangement, resize_shape, alpha
        )


def _rows(name: str, value: Array, size: int) -> np.ndarray:
    check_type(name, value, (np.ndarray, torch.Tensor))
    rows = np.atleast_2d(tensor2ndarray(value))
    if rows.ndim != 2 or rows.shape[-1] != size:
        raise ArgumentError(f"The shape of `{name}` should be (N, {size}), but got {rows.shape}")
    return rows


def _each(name: str, value: Any, types: Any, count: int) -> list:
    kinds = types if isinstance(types, tuple) else (types,)
    check_type_and_length(name, value, (*kinds, list), count)
    return value2list(value, types, count)
