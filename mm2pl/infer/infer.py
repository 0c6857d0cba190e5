"""The workflow of inference: inputs → pipeline → model → pictures → results."""

from __future__ import annotations

import copy
import re
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from mm2pl.checkpoint.weights import _load_checkpoint, _load_checkpoint_to_model
from mm2pl.config import Config, ConfigDict
from mm2pl.config.errors import ConfigError
from mm2pl.dataset import pseudo_collate
from mm2pl.device import get_device
from mm2pl.errors import ArgumentError
from mm2pl.fileio import isdir, join_path, list_dir_or_file
from mm2pl.infer import metafile
from mm2pl.logging import print_log
from mm2pl.registry import FUNCTIONS, MODELS, VISUALIZERS, DefaultScope
from mm2pl.registry.known import naming_source, require_known
from mm2pl.utils.package_utils import MODULE2PACKAGE
from mm2pl.visualization import Visualizer

InputType = str | np.ndarray | torch.Tensor
InputsType = InputType | Sequence[InputType]
ImgType = np.ndarray | Sequence[np.ndarray]
ResType = dict | list[dict]
ConfigType = Config | ConfigDict
ModelType = dict | ConfigType | str

STEPS = ("preprocess", "forward", "visualize", "postprocess")


class InferencerMeta(ABCMeta):
    """Refuses classes in which an argument belongs to two steps."""

    def __init__(cls, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sets = [getattr(cls, f"{step}_kwargs") for step in STEPS]
        assert all(isinstance(names, set) for names in sets)
        assert len(set().union(*sets)) == sum(map(len, sets)), (
            f"Class define error! {cls.__name__} should not define duplicated keys for "
            f"{', '.join(f'`{step}_kwargs`' for step in STEPS)}"
        )


class BaseInferencer(metaclass=InferencerMeta):
    """Base of the toolboxes' inferencers; stands for `mmengine.infer.BaseInferencer`.

    A subclass writes :meth:`_init_pipeline`, :meth:`visualize` and :meth:`postprocess`, and lists in
    ``<step>_kwargs`` which arguments of a call go to which step.

    Args:
        model: A config file, a config, or a name (or alias) from a metafile of the toolbox. None: the
            config inside ``weights``.
        weights: A checkpoint; default: the metafile's.
        device: Default: the best there is.
        scope: The toolbox's scope; default: the current default scope.
        show_progress: Draw a bar.

    Raises:
        ValueError: Neither ``model`` nor ``weights`` is given.
        TypeError: ``model`` is of another type.
    """

    preprocess_kwargs: ClassVar[set[str]] = set()
    forward_kwargs: ClassVar[set[str]] = set()
    visualize_kwargs: ClassVar[set[str]] = set()
    postprocess_kwargs: ClassVar[set[str]] = set()

    def __init__(
        self,
        model: ModelType | str | None = None,
        weights: str | None = None,
        device: str | None = None,
        scope: str | None = None,
        show_progress: bool = True,
    ) -> None:
        current = DefaultScope.get_current_instance()
        self.scope = current.scope_name if scope is None and current is not None else scope
        cfg: Any
        if isinstance(model, str):
            if Path(model).is_file():
                cfg = Config.fromfile(model)
            else:
                cfg, listed = self._load_model_from_metafile(model)
                weights = listed if weights is None else weights
        elif isinstance(model, (Config, ConfigDict)):
            # _init_model and _init_visualizer change the config, but not the caller's.
            cfg = copy.deepcopy(model)
        elif isinstance(model, dict):
            cfg = copy.deepcopy(ConfigDict(model))
        elif model is not None:
            raise ArgumentError(
                f"model must be a filepath or any ConfigType object, but got {type(model)}"
            )
        elif weights is None:
            raise ArgumentError(
                "If model is None, the weights must be specified since the config needs to be "
                "loaded from the weights"
            )
        else:
            cfg = ConfigDict()
        self.model = self._init_model(cfg, weights, get_device() if device is None else device)
        self.pipeline = self._init_pipeline(cfg)
        self.collate_fn = self._init_collate(cfg)
        self.visualizer = self._init_visualizer(cfg)
        self.cfg = cfg
        self.show_progress = show_progress

    def __call__(
        self,
        inputs: InputsType,
        return_datasamples: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> dict:
        """Run the four steps; ``kwargs`` go to the steps that list them."""
        preprocess, forward, visualize, postprocess = self._dispatch_kwargs(**kwargs)
        listed = self._inputs_to_list(inputs)
        predictions: list[Any] = []
        for batch in self._progress(self.preprocess(listed, batch_size=batch_size, **preprocess)):
            predictions.extend(self.forward(batch, **forward))
        pictures = self.visualize(listed, predictions, **visualize)
        return self.postprocess(predictions, pictures, return_datasamples, **postprocess)

    def _progress(self, batches: Iterable[Any]) -> Iterable[Any]:
        if not self.show_progress:
            return batches
        # mm2pl does not require rich, and show_progress=False does without it.
        from rich.progress import track

        return track(batches, description="Inference")

    def _inputs_to_list(self, inputs: InputsType) -> list:
        """Return a list: a folder becomes its files, a single input a list of one."""
        if isinstance(inputs, str) and isdir(inputs):
            return [join_path(inputs, name) for name in list_dir_or_file(inputs, list_dir=False)]
        return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]

    def preprocess(self, inputs: Any, batch_size: int = 1, **kwargs: Any) -> Iterator[Any]:
        """Yield collated batches of what the pipeline makes of the inputs.

        Args:
            inputs: A list, whose items the pipeline takes one by one, only when their batch is needed.
            batch_size: Items in a batch; the last may be shorter.
            **kwargs: Those of ``preprocess_kwargs``, for subclasses.
        """
        # Lazily, so that only one batch of inputs is in memory.
        yield from map(
            self.collate_fn, self._get_chunk_data(map(self.pipeline, inputs), batch_size)
        )

    @torch.no_grad()
    def forward(self, inputs: Any, **kwargs: Any) -> Any:
        """Return the predictions for ``inputs``, one batch of :meth:`preprocess`."""
        return self.model.test_step(inputs)  # type: ignore[operator]

    @abstractmethod
    def visualize(self, inputs: list, preds: Any, show: bool = False, **kwargs: Any) -> Any:
        """Draw the predictions ``preds`` for ``inputs``, and return the pictures; ``show`` opens them in windows."""

    @abstractmethod
    def postprocess(
        self, preds: Any, visualization: Any, return_datasample: bool = False, **kwargs: Any
    ) -> dict:
        """Return ``predictions`` (as plain data, unless ``return_datasample``) and ``visualization``.

        ``preds`` are the predictions of all batches, ``visualization`` is what :meth:`visualize` has returned.
        """

    @abstractmethod
    def _init_pipeline(self, cfg: Any) -> Callable[..., Any]:
        """Return what turns one input into the model's form."""

    def _load_model_from_metafile(self, model: str) -> tuple[Config, str]:
        """Return the config and the weights of a model by its name."""
        path, weights = metafile.find(model, self.scope)
        cfg = Config.fromfile(path)
        require_known(_built_of(cfg), path, "give the config as model=…")
        return cfg, weights

    @staticmethod
    def _get_repo_or_mim_dir(scope: str) -> str:
        return metafile.config_folder(scope)

    @staticmethod
    def _get_models_from_metafile(dir: str) -> Iterator[dict[str, Any]]:
        return metafile.models(dir)

    @staticmethod
    def list_models(scope: str | None = None, patterns: str = r".*") -> list[str]:
        """Print and return the names and aliases in a toolbox's metafiles that match a pattern.

        ``patterns`` is a regular expression. Without ``scope`` the current default scope's toolbox is searched.

        Raises:
            ArgumentError: ``scope`` is not a toolbox's.
        """
        current = DefaultScope.get_current_instance()
        # MMEngine 0.10.7 asks for the default scope here, but then does not use it.
        if scope is None:
            assert current is not None, "scope should be initialized to find a toolbox's metafiles"
            scope = current.scope_name
        if scope not in MODULE2PACKAGE:
            raise ArgumentError(f"{scope} not in {[*MODULE2PACKAGE]}: pass a toolbox's scope.")
        folder = metafile.config_folder(scope)
        # MMEngine 0.10.7 takes an alias that is a string apart into its letters here.
        found = [n for entry in metafile.models(folder) for n in metafile.names(entry)]
        found = [name for name in found if re.match(patterns, name)]
        print_log("".join(f"model_name: {name}\n" for name in found), logger="current")
        return found

    def _init_model(self, cfg: Any, weights: str | None, device: str = "cpu") -> nn.Module:
        """Build the model in eval mode; an empty ``cfg`` is filled with the config in the checkpoint.

        Raises:
            ValueError: ``cfg`` is empty, and the checkpoint holds no config of a model.
        """
        checkpoint = None if weights is None else _load_checkpoint(weights, map_location="cpu")
        # In place, since __init__ goes on with this very object.
        from_file = not cfg
        if from_file:
            cfg.update(_config_in(checkpoint, str(weights)))
        # The weights come from the checkpoint, so the backbone's must not be downloaded.
        if cfg.model.get("pretrained") is not None:
            del cfg.model.pretrained
        with naming_source(str(weights)) if from_file else nullcontext():
            model = MODELS.build(cfg.model)
        # As MMEngine 0.10.7 does: toolboxes find the test pipeline there.
        model.cfg = cfg
        self._load_weights_to_model(model, checkpoint, cfg)
        model.to(device)
        return model.eval()

    def _load_weights_to_model(self, model: nn.Module, checkpoint: dict | None, cfg: Any) -> None:
        """Load the weights; toolboxes override this to take more from the checkpoint."""
        if checkpoint is not None:
            _load_checkpoint_to_model(model, checkpoint)
            return
        warnings.warn(
            "Checkpoint is not loaded, and the inference result is calculated by the randomly "
            "initialized model!",
            stacklevel=3,
        )

    def _init_collate(self, cfg: Any) -> Callable[..., Any]:
        """Return the test dataloader's ``collate_fn``; `pseudo_collate` if it has none."""
        try:
            given = cfg.test_dataloader.collate_fn
        # There is not a test_dataloader, or it names no collate_fn.
        except AttributeError:
            return pseudo_collate
        # MMEngine 0.10.7 takes only a name here, where its loaders take a dict.
        arguments = dict(given) if isinstance(given, dict) else {"type": given}
        with FUNCTIONS.switch_scope_and_registry(self.scope) as registry:
            return partial(registry.get(arguments.pop("type")), **arguments)

    def _init_visualizer(self, cfg: Any) -> Visualizer | None:
        """Build the visualizer, under a name that is free; None if the config has none."""
        if "visualizer" not in cfg:
            return None
        # Visualizers are kept by name, and two inferencers must not share one.
        now = str(datetime.timestamp(datetime.now()))
        name = cfg.visualizer.get("name", now)
        cfg.visualizer.name = f"{name}-{now}" if Visualizer.check_instance_created(name) else name
        return VISUALIZERS.build(cfg.visualizer)

    def _get_chunk_data(self, inputs: Iterable, chunk_size: int) -> Iterator[list]:
        """Yield lists of ``chunk_size`` items; the last may be shorter."""
        iterator = iter(inputs)
        while chunk := list(islice(iterator, chunk_size)):
            yield chunk

    def _dispatch_kwargs(self, **kwargs: Any) -> tuple[dict, dict, dict, dict]:
        """Return the arguments of each step.

        Raises:
            ValueError: No step lists an argument.
        """
        sets = [getattr(self, f"{step}_kwargs") for step in STEPS]
        unknown = set(kwargs).difference(*sets)
        if unknown:
            raise ArgumentError(
                f"unknown argument {unknown} for `preprocess`, `forward`, `visualize` and `postprocess`"
            )
        first, second, third, last = (
            {k: kwargs[k] for k in kwargs if k in names} for names in sets
        )
        return first, second, third, last


_PARTS = (
    *("model", "data_preprocessor", "visualizer"),
    *("test_pipeline", "test_dataloader", "tta_model", "tta_pipeline"),
)


def _built_of(cfg: Any) -> dict[str, Any]:
    """Return the parts of a config from which an inferencer builds something."""
    return {key: cfg[key] for key in _PARTS if key in cfg}


def _config_in(checkpoint: Any, name: str) -> ConfigDict:
    """Return the config that a checkpoint was trained with.

    Args:
        checkpoint: The content of a file.
        name: The file, for messages.

    Raises:
        ArgumentError: It holds none, or one without a model.
        ConfigError: It does more than ``safe=True`` allows, or cannot be read.
        UnknownNameError: It would have something called that is new to this program.
    """
    instead = "give the config as model=…"
    checkpoint = checkpoint if isinstance(checkpoint, Mapping) else {}
    hub, meta = checkpoint.get("message_hub") or {}, checkpoint.get("meta") or {}
    # MMEngine 0.10.7 saves the config in both places, MMCV 1.x only in `meta`.
    found = [place["cfg"] for place in (hub.get("runtime_info") or {}, meta) if "cfg" in place]
    if not found:
        raise ArgumentError(f"{name}: Cannot find the config in the checkpoint → {instead}")
    if not isinstance(found[0], str):
        raise ArgumentError(f"{name}: the config in it is a {type(found[0]).__name__} → {instead}")
    try:
        cfg = Config.fromstring(found[0], file_format=".py", safe=True)._cfg_dict
    except ConfigError as error:
        raise ConfigError(f"{name}: the config in it: {error} → {instead}") from error
    if not isinstance(cfg.get("model"), Mapping):
        raise ArgumentError(f"{name}: the config in it has no model, only {list(cfg)} → {instead}")
    require_known(_built_of(cfg), name, instead)
    return cfg
