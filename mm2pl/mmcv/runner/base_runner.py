"""What both of MMCV 1.x' runners share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer

from mm2pl.dist import get_dist_info
from mm2pl.errors import ArgumentError, StateError
from mm2pl.mmcv.runner.drive import Workflow, all_steps, autocast, fit
from mm2pl.mmcv.runner.driven import inside_fit
from mm2pl.mmcv.runner.log_buffer import LogBuffer
from mm2pl.mmcv.runner.registration import HookRegistration
from mm2pl.mmcv.runner.saving import Checkpoints, bare_model
from mm2pl.mmcv.runner.utils import get_host_info, get_time_str


class BaseRunner(HookRegistration, Checkpoints):
    """Train a model along a workflow, with hooks; stands for `mmcv.runner.BaseRunner`.

    The iterations run on a Lightning Trainer, which is ``runner.trainer`` during `run`. Where a subclass overrides
    ``train`` or ``run``, or a workflow has modes of its own, that code goes through the data, inside the Trainer's fit.

    Args:
        model: Has ``train_step(data, optimizer)``, maybe inside a wrapper.
        batch_processor: ``(model, data, train_mode) -> outputs`` for models without ``train_step``.
        optimizer: An optimizer, several by name, or None.
        work_dir: For checkpoints and logs; created.
        logger: A logger.
        meta: What is stored in checkpoints next to the weights.
        max_iters: Iterations of the run.
        max_epochs: Epochs of the run; only one of the two.
        trainer: Arguments of the Trainer that differ from a plain run on the model's device.

    Raises:
        ValueError: Both ``max_epochs`` and ``max_iters`` are given.
    """

    unit = ""
    #: MMCV's methods of these names; a class whose method is another goes through the data itself.
    standard: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        model: nn.Module,
        batch_processor: Callable[..., Any] | None = None,
        optimizer: Optimizer | dict[str, Optimizer] | None = None,
        work_dir: str | None = None,
        logger: logging.Logger | None = None,
        meta: dict[str, Any] | None = None,
        max_iters: int | None = None,
        max_epochs: int | None = None,
        trainer: dict[str, Any] | None = None,
    ) -> None:
        _check(model, batch_processor, optimizer, logger, meta)
        if max_epochs is not None and max_iters is not None:
            raise ArgumentError(
                f"max_epochs={max_epochs!r}, max_iters={max_iters!r} → give only one of the two."
            )
        self.model = model
        self.batch_processor = batch_processor
        self.optimizer: Any = optimizer
        # MMCV 1.7.2 refuses a runner without a logger. Small scripts run on a default logger here.
        self.logger = logger or logging.getLogger("mm2pl.mmcv")
        self.meta = meta
        # ``| Any``, here and below: MMCV 1.7's hooks use the folder and the end without asking whether there is one.
        self.work_dir: str | Any = None if work_dir is None else os.path.abspath(work_dir)
        if self.work_dir is not None:
            os.makedirs(self.work_dir, exist_ok=True)
        self._rank, self._world_size = get_dist_info()
        self.timestamp = get_time_str()
        self.mode: str | None = None
        self._hooks: list[Any] = []
        self._epoch = 0
        self._iter = 0
        self._inner_iter = 0
        self._max_epochs = max_epochs
        self._max_iters = max_iters
        self.log_buffer = LogBuffer()
        self.trainer_arguments = dict(trainer or {})
        self.trainer: Any = None
        self.module: Any = None
        self.autocast_dtype: torch.dtype | None = None
        self.outputs: dict[str, Any] = {}
        self.data_loader: Any = None
        # On the object: a subclass that calls super().run() or super().train() is inside the Trainer's fit by then.
        for name in ("train", "run") if self._overrides("run") else ("train",):
            setattr(self, name, inside_fit(self, getattr(self, name)))

    # Where the run is

    @property
    def model_name(self) -> str:
        """The class name of the model, without its wrapper."""
        # `hasattr(model, 'module')`, as in MMCV 1.7.2: wrappers that are in no registry count too.
        return type(getattr(self.model, "module", self.model)).__name__

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return self._rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self._world_size

    @property
    def epoch(self) -> int:
        """Epochs finished so far."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Training iterations finished so far."""
        return self._iter

    @property
    def inner_iter(self) -> int:
        """The iteration in its epoch."""
        return self._inner_iter

    @property
    def max_epochs(self) -> int | Any:
        """Epochs of the run."""
        return self._max_epochs

    @property
    def max_iters(self) -> int | Any:
        """Training iterations of the run."""
        return self._max_iters

    @property
    def is_over(self) -> bool:
        """Return whether there is nothing left to train."""
        raise NotImplementedError

    def current_lr(self) -> Any:
        """Return the learning rate of each group; a dict of lists for several optimizers."""
        return self._of_groups(lambda group: group["lr"])

    def current_momentum(self) -> Any:
        """Return the momentum of each group; a dict of lists for several optimizers."""
        return self._of_groups(
            # Adam and its kin have no momentum; MMCV 1.7.2 shows their first beta, and 0 where there is neither.
            lambda group: group["momentum"] if "momentum" in group else group.get("betas", (0,))[0]
        )

    def _of_groups(self, value: Callable[[dict[str, Any]], float]) -> Any:
        if self.optimizer is None:
            raise StateError("the runner has no optimizer → its lr and momentum are unknown.")
        if isinstance(self.optimizer, dict):
            return {k: [value(g) for g in o.param_groups] for k, o in self.optimizer.items()}
        return [value(group) for group in self.optimizer.param_groups]

    # The run

    def run(
        self, data_loaders: list[Any], workflow: Sequence[tuple[str, int]], **kwargs: Any
    ) -> None:
        """Train and validate along ``workflow`` until the run is over.

        Args:
            data_loaders: One per flow.
            workflow: Mode and number of epochs (or iterations), such as ``[('train', 2), ('val', 1)]``.
            kwargs: Handed to the model's ``train_step`` and ``val_step``.
        """
        # MMCV 1.7.2 asserts tuples. A config from JSON or YAML has lists.
        flows: list[Any] = [tuple(flow) for flow in workflow]
        self._check_workflow(data_loaders, flows)
        self.logger.info(
            f"Start running, host: {get_host_info()}, work_dir: {self.work_dir or 'NONE'}"
        )
        self.logger.info(f"Hooks will be executed in the following order:\n{self.get_hook_info()}")
        self.logger.info(f"workflow: {flows}, max: {self._length()} {self.unit}s")
        loaders = self._prepare(data_loaders, flows)
        if self.module is not None or self._overrides("train") or not _only_modes_of_mmcv(flows):
            inside_fit(self, self._go_through)(loaders, flows, kwargs)
            return
        steps = Workflow(self, loaders, flows, kwargs)
        if not self.is_over:
            fit(self, steps, self._lightning_epochs())
        self.end_run()

    def _overrides(self, name: str) -> bool:
        return getattr(type(self), name) is not self.standard[name]

    def _go_through(self, loaders: list[Any], flows: list[tuple], kwargs: dict[str, Any]) -> None:
        self.begin_run()
        for mode, loader in all_steps(self, loaders, flows):
            getattr(self, mode)(loader, **kwargs)
        self.end_run()

    def _check_workflow(self, data_loaders: list[Any], flows: list[tuple]) -> None:
        if not isinstance(data_loaders, list) or len(data_loaders) != len(flows):
            raise ArgumentError(
                f"workflow={flows!r} with {len(data_loaders)} data_loaders → give a list with one loader per flow."
            )
        for flow in flows:
            # MMCV 1.7.2 takes any method of the runner as a mode, so that subclasses add flows of their own.
            if len(flow) != 2 or not isinstance(flow[0], str) or not hasattr(self, flow[0]):
                raise ArgumentError(
                    f"workflow={flows!r}: {flow!r} is no (mode, times) with the name of a method, such as ('train', 1)."
                )
        if self._length() is None:
            raise ArgumentError(
                f"max_{self.unit}s=None → the runner must be made with max_{self.unit}s."
            )

    def _length(self) -> int | None:
        raise NotImplementedError

    def _prepare(self, data_loaders: list[Any], flows: list[tuple]) -> list[Any]:
        raise NotImplementedError

    def _lightning_epochs(self) -> int:
        raise NotImplementedError

    def begin_run(self) -> None:
        """Start, on the Trainer."""
        self.call_hook("before_run")

    def end_run(self) -> None:
        """End."""
        self.call_hook("after_run")

    def begin_flow(self) -> None:
        """Note that another flow of the workflow begins."""

    def batches_per_lightning_epoch(self, loader: Any) -> int:
        """Return how many batches one of the Trainer's epochs has."""
        raise NotImplementedError

    def training_batches(self, workflow: Workflow) -> Any:
        """Yield the batches of one of the Trainer's epochs."""
        raise NotImplementedError

    def begin_lightning_epoch(self, workflow: Workflow) -> None:
        """Begin one of the Trainer's epochs."""
        raise NotImplementedError

    def train_iteration(self, batch: Any, batch_idx: int, workflow: Workflow) -> None:
        """Do one training iteration."""
        raise NotImplementedError

    def end_lightning_epoch(self, workflow: Workflow) -> None:
        """End one of the Trainer's epochs."""
        raise NotImplementedError

    def train(self, data_loader: Any, **kwargs: Any) -> None:
        """Train for one epoch or iteration; for a subclass or a script that goes through the data itself."""
        raise NotImplementedError

    def val(self, data_loader: Any, **kwargs: Any) -> None:
        """Validate for one epoch or iteration."""
        raise NotImplementedError

    def run_iter(self, data_batch: Any, train_mode: bool, **kwargs: Any) -> None:
        """Let the model do one step, and note what it returns. Subclasses may override it.

        Raises:
            TypeError: The model's step returns something else than the dict that 1.x wants.
        """
        # MMCV 1.7.2 autocasts only inside methods with @auto_fp16. Here one context covers the whole step.
        with autocast(self):
            if self.batch_processor is not None:
                outputs = self.batch_processor(
                    self.model, data_batch, train_mode=train_mode, **kwargs
                )
            elif train_mode:
                outputs = self.model.train_step(data_batch, self.optimizer, **kwargs)  # type: ignore[operator]
            else:
                outputs = self._val_step(data_batch, **kwargs)
        if not isinstance(outputs, dict):
            step = "train_step" if train_mode else "val_step"
            raise ArgumentError(
                f"model.{step}() must return a dict with loss, log_vars and num_samples, not {outputs!r}."
            )
        # `log_vars` is optional in MMCV 1.7.2, but with it
        # `num_samples` is not: it weights the averages of the log.
        if "log_vars" in outputs:
            self.log_buffer.update(outputs["log_vars"], outputs["num_samples"])
        self.outputs = outputs

    def _val_step(self, data_batch: object, **kwargs: Any) -> Any:
        return self.model.val_step(data_batch, self.optimizer, **kwargs)  # type: ignore[operator]

    def _iteration(self, batch: object, train: bool, kwargs: dict[str, Any]) -> None:
        mode = "train" if train else "val"
        self.data_batch = batch
        self.call_hook(f"before_{mode}_iter")
        self.run_iter(batch, train_mode=train, **kwargs)
        self.call_hook(f"after_{mode}_iter")
        # It lives for one iteration only, as in MMCV 1.7.2: else the last batch would occupy memory in validation.
        del self.data_batch

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Run backward: through the Trainer's strategy while it is running."""
        # DDP and the precision plugin act on a backward that goes through Lightning's strategy.
        # Hooks that call `loss.backward()` on their own would leave the gradients of the processes unsynchronised.
        if self.module is not None:
            self.module.backward_of(loss, **kwargs)
        else:
            loss.backward(**kwargs)


def _only_modes_of_mmcv(flows: list[tuple]) -> bool:
    return all(mode in ("train", "val") for mode, _ in flows)


def _check(
    model: object, batch_processor: object, optimizer: object, logger: object, meta: object
) -> None:
    if batch_processor is not None:
        if not callable(batch_processor):
            raise ArgumentError(f"batch_processor={batch_processor!r} must be callable.")
        # With a batch processor MMCV 1.7.2 looks inside the wrapper: MMDataParallel itself always has `train_step`.
        if hasattr(bare_model(model), "train_step"):
            raise StateError(
                "the model has train_step, and there is a batch_processor → give only one of them."
            )
    elif not hasattr(model, "train_step"):
        raise ArgumentError(
            f"model={type(model).__name__} has no train_step(data, optimizer) → add it; it returns "
            "dict(loss=…, log_vars=…, num_samples=…)."
        )
    found = list(optimizer.values()) if isinstance(optimizer, dict) else [optimizer]
    if any(one is not None and not isinstance(one, Optimizer) for one in found):
        raise ArgumentError(
            f"optimizer={optimizer!r} must be a torch Optimizer, a dict of them, or None."
        )
    if logger is not None and not isinstance(logger, logging.Logger):
        raise ArgumentError(f"logger={logger!r} must be a logging.Logger.")
    if meta is not None and not isinstance(meta, dict):
        raise ArgumentError(f"meta={meta!r} must be a dict or None.")
