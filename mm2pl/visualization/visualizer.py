"""The visualizer of a run: hands records to its backends, and draws on an image."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch

from mm2pl.config import Config
from mm2pl.dist import master_only
from mm2pl.errors import ArgumentError, MissingPackageError, StateError
from mm2pl.registry import VISBACKENDS, VISUALIZERS
from mm2pl.utils import ManagerMixin
from mm2pl.visualization.drawing import Drawing
from mm2pl.visualization.utils import img_from_canvas, wait_continue
from mm2pl.visualization.vis_backend import BaseVisBackend

NO_FRAME = {"frameon": False}


@VISUALIZERS.register_module()
class Visualizer(Drawing, ManagerMixin):
    """Record and draw (``mmengine.visualization.Visualizer``); only the first process does.

    Matplotlib is needed for drawing alone (extra ``visual``) and imported then. Projects derive
    their own class and override :meth:`add_datasample`.

    Args:
        name: the name for :meth:`get_instance`.
        image: the image to draw on, RGB ``(H, W, 3)``.
        vis_backends: backends or their configs, one or a list.
        save_dir: the backends write to ``<save_dir>/vis_data``; one that needs a folder is left out
            with a warning if there is none.
        fig_save_cfg: arguments of the figure that is drawn on.
        fig_show_cfg: arguments of the figure that is shown.

    Example:
    >>> import tempfile, pathlib
    >>> folder = tempfile.mkdtemp()
    >>> visualizer = Visualizer(vis_backends={"type": "LocalVisBackend"}, save_dir=folder)
    >>> visualizer.add_scalar("loss", 0.5, step=1)
    >>> pathlib.Path(folder, "vis_data", "scalars.json").read_text().strip()
    '{"loss": 0.5, "step": 1}'
    """

    _iteration: int | None = None

    def __init__(
        self,
        name: str = "visualizer",
        image: np.ndarray | None = None,
        vis_backends: Sequence[dict | BaseVisBackend] | dict | BaseVisBackend | None = None,
        save_dir: str | None = None,
        fig_save_cfg: dict = NO_FRAME,
        fig_show_cfg: dict = NO_FRAME,
    ) -> None:
        super().__init__(name)
        self._dataset_meta: dict | None = None
        self._vis_backends: dict[str, BaseVisBackend] = {}
        # The figure waits for the first drawing: MMEngine 0.10.7 makes it here, and so imports Matplotlib in every run.
        self.fig_save_cfg = fig_save_cfg
        self.fig_show_cfg = fig_show_cfg
        self._image: np.ndarray | None = None
        backends = vis_backends if isinstance(vis_backends, list | tuple) else [vis_backends]
        for backend in backends:
            if backend is not None:
                self._add_backend(backend, save_dir)
        if image is not None:
            self.set_image(image)

    def _add_backend(self, backend: Any, save_dir: str | None) -> None:
        name = None
        if isinstance(backend, dict):
            folder = None if save_dir is None else os.path.join(save_dir, "vis_data")
            # A new dict: MMEngine 0.10.7 pops `name` from the config, and adds `save_dir`.
            settings = {"save_dir": folder, **backend}
            name = settings.pop("name", None)
            backend = VISBACKENDS.build(settings)
        # By the attribute, so that a backend of the real MMEngine counts.
        elif not hasattr(backend, "_save_dir"):
            raise ArgumentError(
                "vis_backends must be a list of dicts or a list of BaseVisBackend instances, "
                f"but it holds {backend!r}"
            )
        asked = inspect.signature(type(backend).__init__).parameters.get("save_dir")
        # A backend that needs no folder has a default for it; MMEngine tells them apart by that.
        if asked is not None and asked.default is asked.empty and backend._save_dir is None:
            warnings.warn(
                f"Failed to add {type(backend)}, please provide the `save_dir` argument.",
                stacklevel=3,
            )
            return
        name = name or type(backend).__name__
        if name in self._vis_backends:
            raise StateError(
                f"vis_backend name {name} already exists: give one of the two a `name` of its own"
            )
        self._vis_backends[name] = backend

    @classmethod
    def get_instance(cls, name: str, **kwargs: Any) -> Any:
        """Return the instance called ``name``; those of subclasses are instances of this class too."""
        instance = super().get_instance(name, **kwargs)
        # ManagerMixin keeps the instances by class: `Visualizer.get_current_instance()` would not find a subclass's.
        Visualizer._instance_dict[name] = instance
        return instance

    @property
    def dataset_meta(self) -> dict | None:
        """The meta information of the data set, such as its class names."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta

    # Records

    @master_only
    def get_backend(self, name: str) -> BaseVisBackend | None:
        """Return the backend called ``name``: the ``name`` of its config, by default that of its class."""
        return self._vis_backends.get(name)

    @master_only
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Record the config."""
        for backend in self._vis_backends.values():
            backend.add_config(config, **kwargs)

    @master_only
    def add_graph(
        self, model: torch.nn.Module, data_batch: Sequence[dict] | None, **kwargs: Any
    ) -> None:
        """Hand ``model`` and ``data_batch`` to every backend's ``add_graph``."""
        for backend in self._vis_backends.values():
            backend.add_graph(model, data_batch, **kwargs)

    @master_only
    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Record ``image``, RGB ``(H, W, 3)`` of bytes, as ``name`` at ``step`` in every backend."""
        for backend in self._vis_backends.values():
            backend.add_image(name, image, step)

    @master_only
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Record the number ``value`` as ``name`` at ``step`` in every backend."""
        for backend in self._vis_backends.values():
            backend.add_scalar(name, value, step, **kwargs)

    @master_only
    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Record the numbers of ``scalar_dict`` by name at ``step``; local files write them to ``file_path`` too."""
        for backend in self._vis_backends.values():
            # A backend of the real MMEngine does not say what it is.
            is_logger = getattr(backend, "is_logger", False)
            at = self._iteration if is_logger and self._iteration is not None else step
            backend.add_scalars(scalar_dict, at, file_path, **kwargs)

    @contextmanager
    def counting(self, iteration: int) -> Iterator[None]:
        """Let loggers record what comes inside at an iteration; files keep the step that they are given."""
        self._iteration = iteration
        try:
            yield
        finally:
            self._iteration = None

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: int = 0,
        step: int = 0,
    ) -> None:
        """Draw a sample and its prediction: for subclasses.

        Args:
            name: Of the image in the backends.
            image: RGB ``(H, W, 3)`` of bytes.
            data_sample: A data element with ground truth, prediction or both.
            draw_gt: Draw the ground truth.
            draw_pred: Draw the prediction.
            show: Show it in a window too.
            wait_time: Seconds that the window stays; 0: until a key is pressed.
            step: The iteration, for the backends.
        """

    # On every rank, as in MMEngine: a backend that was never opened has nothing to close.
    def close(self) -> None:
        """Close the backends."""
        for backend in self._vis_backends.values():
            backend.close()

    # The image

    @master_only
    def set_image(self, image: np.ndarray) -> None:
        """Begin a drawing on an RGB image ``(H, W, 3)``.

        Raises:
            ArgumentError: ``image`` is None.
        """
        if image is None:
            raise ArgumentError("set_image(None): an image (H, W, 3) is needed")
        # Always a copy: the caller may go on changing its array.
        image = image.astype(np.uint8)
        self._image = image
        self.height, self.width = image.shape[:2]
        # MMEngine's rule: texts of both look alike.
        self._default_font_size = max(np.sqrt(self.height * self.width) // 90, 10)
        # MMEngine's 1e-2: 29 / 100 * 100 is below 29, and would lose a pixel where Matplotlib cuts off.
        # Matplotlib 3.11 itself no longer needs it.
        self.fig_save.set_size_inches(
            (self.width + 1e-2) / self.dpi, (self.height + 1e-2) / self.dpi
        )
        # Drops all that was drawn on the image before.
        self.ax_save.cla()
        self.ax_save.axis(False)
        # The extent makes coordinates pixels, from the upper left corner.
        self.ax_save.imshow(image, extent=(0, self.width, self.height, 0), interpolation="none")

    @master_only
    def get_image(self) -> np.ndarray:
        """Return the image with all that has been drawn, RGB ``(H, W, 3)``.

        Raises:
            ArgumentError: There is none yet.
        """
        if self._image is None:
            raise ArgumentError("Please set image using `set_image`")
        return img_from_canvas(self.fig_save_canvas)

    @master_only
    def show(
        self,
        drawn_img: np.ndarray | None = None,
        win_name: str = "image",
        wait_time: float = 0.0,
        continue_key: str = " ",
        backend: str = "matplotlib",
    ) -> Any:
        """Show the image in a window, for ``wait_time`` seconds or until ``continue_key``.

        ``backend="cv2"`` shows it with OpenCV, if that is installed.

        Raises:
            ValueError: An unknown ``backend``.
        """
        image = self.get_image() if drawn_img is None else drawn_img
        if backend == "cv2":
            import cv2

            cv2.namedWindow(winname=f"{id(self)}")
            cv2.setWindowTitle(f"{id(self)}", win_name)
            # Unchanged, as in MMEngine 0.10.7: OpenCV takes the first channel for blue.
            cv2.imshow(f"{id(self)}", image)
            cv2.waitKey(int(np.ceil(wait_time * 1000)))
            return None
        if backend != "matplotlib":
            raise ArgumentError(
                f'backend should be "matplotlib" or "cv2", but got {backend} instead'
            )
        import matplotlib.pyplot as plt

        self._init_manager(win_name)
        figure = self.manager.canvas.figure
        figure.subplots_adjust(left=0, right=1, bottom=0, top=1)
        figure.clear()
        axes = figure.add_subplot()
        axes.axis(False)
        axes.imshow(image)
        self.manager.canvas.draw()
        # A notebook shows the figure that a cell returns.
        if "inline" in plt.get_backend():
            return figure
        wait_continue(figure, timeout=wait_time, continue_key=continue_key)
        return None

    def _init_manager(self, win_name: str) -> None:
        from matplotlib.figure import Figure
        from matplotlib.pyplot import new_figure_manager

        manager = getattr(self, "manager", None)
        for attempt in range(2):
            if manager is None or attempt:  # the user may have closed the window
                manager = new_figure_manager(num=1, FigureClass=Figure, **self.fig_show_cfg)
            try:
                manager.set_window_title(win_name)
                break
            except Exception:
                # A new window failed too, so the user has not just closed the old one.
                if attempt:
                    raise
        self.manager: Any = manager

    # The figure to draw on, made when it is needed

    def _initialize_fig(self, fig_cfg: dict) -> tuple[Any, Any, Any]:
        """Return a canvas, its figure, and axes that fill it."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingPackageError(
                'drawing needs Matplotlib: run "pip install mm2pl[visual]"'
            ) from error
        # Without pyplot: it would keep the figure, and need a display for it.
        figure = Figure(**fig_cfg)
        axes = figure.add_subplot()
        axes.axis(False)
        figure.subplots_adjust(left=0, right=1, bottom=0, top=1)
        return FigureCanvasAgg(figure), figure, axes

    @cached_property
    def _figure(self) -> tuple[Any, Any, Any]:
        return self._initialize_fig(self.fig_save_cfg)

    @cached_property
    def fig_save_canvas(self) -> Any:
        """The canvas of the figure that is drawn on."""
        return self._figure[0]

    @cached_property
    def fig_save(self) -> Any:
        """The figure that is drawn on."""
        return self._figure[1]

    @cached_property
    def ax_save(self) -> Any:
        """The axes to draw on."""
        return self._figure[2]

    @cached_property
    def dpi(self) -> float:
        """The dots per inch of the figure that is drawn on."""
        return self.fig_save.get_dpi()
