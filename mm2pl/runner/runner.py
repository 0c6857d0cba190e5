"""``Runner``: MMEngine's entry point, as a facade over a run on a Lightning Trainer."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from mm2pl.check import Report, check_runner
from mm2pl.config import Config
from mm2pl.errors import ArgumentError, ReadableKeyError, StateError
from mm2pl.lightning.assembly import assemble, current_parts
from mm2pl.lightning.signals import interrupt_is_heard
from mm2pl.plan.combinations import COMPLETE
from mm2pl.plan.translate import translate
from mm2pl.registry import RUNNERS
from mm2pl.run.facade import RunnerFacade
from mm2pl.run.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from typing_extensions import Self

    from mm2pl.evaluator import Evaluator
    from mm2pl.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
    from mm2pl.run.log_processor import LogProcessor
    from mm2pl.visualization import Visualizer


@RUNNERS.register_module()
class Runner(RunnerFacade):
    """Train, validate and test what an MMEngine config describes.

    Stands for ``mmengine.runner.Runner``. Every argument is the config key of that name; ``configs/README.md`` lists
    what each takes. A part may be a dict with ``type``, or an object that is built. The Trainer is ``runner.trainer``;
    everything Lightning offers can be reached through it.

    Args:
        model: A :class:`~mm2pl.model.BaseModel`, any module with its steps, a LightningModule of your own, or a dict.
        work_dir: Folder of checkpoints and logs; made if it is missing.
        train_dataloader: Batches of the training: a DataLoader, or ``dict(dataset=…, sampler=…, batch_size=…)``.
        val_dataloader: Batches of the validation, or a list of loaders.
        test_dataloader: Batches of the test, or a list of loaders.
        train_cfg: ``dict(by_epoch=True, max_epochs=…)`` or ``dict(by_epoch=False, max_iters=…)``, with ``val_begin``
            and ``val_interval`` in epochs or iterations; or ``dict(type=…)`` of a loop of your own.
        val_cfg: ``dict()``, ``dict(fp16=True)`` or a loop of your own.
        test_cfg: The same for the test.
        auto_scale_lr: ``dict(enable=True, base_batch_size=…)``: learning rates grow with the samples of a step.
        optim_wrapper: ``dict(type='OptimWrapper', optimizer=…, clip_grad=…, accumulative_counts=…)``, or a wrapper.
        param_scheduler: Schedules of learning rates and momenta: one, a list, or a dict of lists by optimizer.
        val_evaluator: Metrics of the validation: one, a list, or an Evaluator.
        test_evaluator: Metrics of the test.
        default_hooks: Changes of the default hooks by name; None for a name removes that hook.
        custom_hooks: More hooks of MMEngine's kind, and callbacks of Lightning's.
        data_preprocessor: Put into a model dict that has none.
        load_from: Checkpoint whose weights the run begins with.
        resume: True takes the newest checkpoint of ``work_dir``; a path takes that one; with ``load_from``, that.
        launcher: How the processes were started: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        env_cfg: ``cudnn_benchmark``, ``mp_cfg``, ``dist_cfg`` and ``resource_limit``.
        log_processor: Window of the averages, in iterations, and form of the log lines.
        log_level: Of the run's logger.
        visualizer: ``dict(type='Visualizer', vis_backends=[…])``; its backends become the Trainer's loggers.
        default_scope: Registry scope that names are looked up in first.
        randomness: ``dict(seed=…, diff_rank_seed=False, deterministic=False)``; without a seed one is drawn.
        experiment_name: Default: the name of the config's file, and the time.
        cfg: The whole config: written into ``work_dir``, and into checkpoints.
        trainer: Arguments of ``lightning.pytorch.Trainer`` that win over the config. MMEngine has no such argument.

    Example:
        >>> import tempfile, torch
        >>> from mm2pl.model import BaseModel
        >>> class Line(BaseModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(2, 1)
        ...     def forward(self, inputs, mode="tensor"):
        ...         outputs = self.layer(inputs)
        ...         return {"loss": outputs.square().mean()} if mode == "loss" else outputs
        >>> data = torch.utils.data.TensorDataset(torch.ones(8, 2))
        >>> runner = Runner(
        ...     model=Line(),
        ...     work_dir=tempfile.mkdtemp(),
        ...     train_dataloader=torch.utils.data.DataLoader(data, batch_size=4),
        ...     train_cfg={"by_epoch": True, "max_epochs": 2},
        ...     optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        ...     log_level="ERROR",
        ... )
        >>> model = runner.train()
        >>> runner.epoch, runner.iter
        (2, 4)

    Raises:
        ValueError: If only some of ``train_dataloader``, ``train_cfg`` and ``optim_wrapper`` are given (or of the
            loader, ``cfg`` and evaluator of validation or test), or a key that no run accepts.
    """

    def __init__(
        self,
        model: nn.Module | dict[str, Any],
        work_dir: str,
        train_dataloader: Iterable[Any] | None = None,
        val_dataloader: Iterable[Any] | None = None,
        test_dataloader: Iterable[Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        val_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        auto_scale_lr: dict[str, Any] | None = None,
        optim_wrapper: OptimWrapper | OptimWrapperDict | dict[str, Any] | None = None,
        param_scheduler: _ParamScheduler | dict[str, Any] | list[Any] | None = None,
        val_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        test_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[Any] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
        load_from: str | None = None,
        resume: bool | str | dict[str, Any] = False,
        launcher: str = "none",
        env_cfg: dict[str, Any] | None = None,
        log_processor: LogProcessor | dict[str, Any] | None = None,
        log_level: str | int = "INFO",
        visualizer: Visualizer | dict[str, Any] | None = None,
        default_scope: str | None = "mmengine",
        randomness: dict[str, Any] | None = None,
        experiment_name: str | None = None,
        cfg: Config | dict[str, Any] | None = None,
        trainer: dict[str, Any] | None = None,
    ) -> None:
        # None means "not given", but not for default_scope: there it means that each registry starts from itself.
        given = {
            key: value
            for key, value in locals().items()
            if key not in ("self", "cfg", "trainer", "__class__")
            and (value is not None or key == "default_scope")
        }
        # As in MMEngine, keys of a whole config that are arguments are not read here; from_cfg hands them over.
        others = {k: v for k, v in (cfg or {}).items() if k not in ARGUMENTS}
        plan = translate(
            {**others, **given},
            filename=getattr(cfg, "filename", None),
            trainer={**current_parts().flags, **(trainer or {})},
        )
        super().__init__(Run(plan, cfg))
        assemble(self._run)

    @classmethod
    def from_cfg(
        cls, cfg: Config | dict[str, Any], *, trainer: dict[str, Any] | None = None
    ) -> Self:
        """Make a runner from a whole config.

        Args:
            cfg: The config.
            trainer: As for the class itself.

        Raises:
            KeyError: If ``model`` or ``work_dir`` is missing.
        """
        # As in MMEngine: building takes keys out of the dicts, and the caller's config must stay whole.
        cfg = copy.deepcopy(cfg)
        for key in ("model", "work_dir"):
            if key not in cfg:
                raise ReadableKeyError(
                    f"the config has no {key!r} → Runner.from_cfg needs 'model' and 'work_dir'"
                )
        # As in MMEngine, a subclass gets every argument that Runner itself has, even one that its own signature lacks.
        given = {name: cfg.get(name, default) for name, default in ARGUMENTS.items()}
        if trainer is not None:  # a subclass may have no such argument
            given["trainer"] = trainer
        return cls(**given, cfg=cfg)

    # The three verbs

    @interrupt_is_heard()
    def train(self) -> nn.Module:
        """Train, and return the model.

        Raises:
            RuntimeError: If the run was made without ``train_cfg``.
            KeyboardInterrupt: Ctrl-C, as in MMEngine: the run stands where it was stopped and can be saved.
        """
        self._require("train")
        path = self._run.continuing.path_to_resume()
        self.trainer.fit(self.module, datamodule=self.datamodule, **self._restoring(path))
        return self._run.returned.pop("train", self.model)

    @interrupt_is_heard()
    def val(self) -> dict[str, Any]:
        """Validate, and return the metrics.

        Raises:
            RuntimeError: If the run was made without ``val_cfg``.
        """
        self._require("val")
        # Not verbose: Lightning would print a table of the metrics that MMEngine's log line has.
        self.trainer.validate(
            self.module, datamodule=self.datamodule, verbose=False, **self._restoring()
        )
        return self._run.returned.pop("val", self.mm_module.eval_metrics)

    @interrupt_is_heard()
    def test(self) -> dict[str, Any]:
        """Test, and return the metrics.

        Raises:
            RuntimeError: If the run was made without ``test_cfg``.
        """
        self._require("test")
        self.trainer.test(
            self.module, datamodule=self.datamodule, verbose=False, **self._restoring()
        )
        return self._run.returned.pop("test", self.mm_module.eval_metrics)

    def check(self) -> Report:
        """Try the run out on a copy, before a long training: see :mod:`mm2pl.check`.

        Nothing is written outside a temporary folder, and a :meth:`train` after it gives the same bits as one without.
        Hooks and data sets of yours are called, as copies: what they write to files, services or outer variables of
        their own is not taken back.
        """
        return check_runner(self)

    def build_evaluator(self, evaluator: Evaluator | dict | list) -> Evaluator:
        """Build an evaluator; ``evaluator`` is a metric's dict, a list of them, or ``dict(type=…, metrics=…)``.

        Raises:
            TypeError: It is none of these. A metric alone, which a LightningModule may be given, is none in MMEngine.
        """
        if hasattr(evaluator, "process") and not hasattr(evaluator, "metrics"):
            raise ArgumentError(
                f"evaluator should be one of dict, list of dict and Evaluator, but got {type(evaluator).__name__} → "
                "[metric], or Evaluator(metric)"
            )
        return super().build_evaluator(evaluator)

    def restore(self, ckpt_path: str | None = None, **options: Any) -> None:
        """Let the Trainer restore a checkpoint when the next verb begins, in place of that of ``resume``.

        Args:
            ckpt_path: A path, or Lightning's ``"best"`` and ``"last"``.
            options: Further arguments of ``Trainer.fit``, ``validate`` or ``test``, such as ``weights_only``.
        """
        self._asked = {"ckpt_path": ckpt_path, **options}

    def _restoring(self, path: str | None = None) -> dict[str, Any]:
        # Once: the next verb goes on with the weights that it finds.
        asked, self._asked = self._asked, {}
        path = asked.get("ckpt_path") or path
        self._run.continuing.leave_to_trainer(path)
        return {**asked, "ckpt_path": path}

    _asked: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed

    def _require(self, stage: str) -> None:
        if self._run.loops[stage] is None:
            loader, cfg, other = COMPLETE[stage]
            raise StateError(
                f"Runner.{stage}() needs {cfg}, which should not be None → give {cfg}, {loader} and {other}"
            )


def arguments_of(runner: type[Runner]) -> dict[str, Any]:
    """Return the arguments that a runner takes from a config, in their order, and their defaults."""
    return {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(runner.__init__).parameters.items()
        if name not in ("self", "cfg", "trainer")
    }


ARGUMENTS = arguments_of(Runner)
"""The arguments of MMEngine's Runner and their defaults, in its order."""
