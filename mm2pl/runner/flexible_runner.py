"""``FlexibleRunner``: MMEngine's second entry point, which names a strategy."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from mm2pl.config import Config
from mm2pl.dist import infer_launcher
from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.plan.resume import MUST
from mm2pl.registry import RUNNERS
from mm2pl.runner.runner import ARGUMENTS, Runner, arguments_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from typing_extensions import Self

    from mm2pl.evaluator import Evaluator
    from mm2pl.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
    from mm2pl.run.log_processor import LogProcessor
    from mm2pl.visualization import Visualizer


@RUNNERS.register_module()
class FlexibleRunner(Runner):
    """Run a config as :class:`Runner` does, with ``strategy`` and ``compile`` (``mmengine.runner.FlexibleRunner``).

    What a strategy of MMEngine's does is done by the Trainer's own, so this is the same run under the other signature:
    arguments after ``model`` are keywords, and ``work_dir`` has a default. What is not listed here is as for
    :class:`Runner`.

    Args:
        model: As for :class:`Runner`.
        work_dir: As for :class:`Runner`.
        strategy: ``dict(type='DDPStrategy', …)``; see the key ``strategy`` in ``mm2pl explain``.
        compile: ``True`` or keyword arguments of :func:`torch.compile`.
        resume: Also the checkpoint to resume, as a string.
        launcher: ``None`` finds out from the environment who has started the process.
        cfg: The whole config.
        trainer: As for :class:`Runner`; MMEngine has no such argument.

    Raises:
        TypeError: If ``strategy`` is a live object, or ``compile`` neither a bool nor a dict.
        ValueError: If ``resume`` is a path and ``load_from`` is given too.
    """

    def __init__(
        self,
        model: nn.Module | dict[str, Any],
        *,
        work_dir: str = "work_dirs",
        experiment_name: str | None = None,
        train_dataloader: Iterable[Any] | None = None,
        optim_wrapper: OptimWrapper | OptimWrapperDict | dict[str, Any] | None = None,
        param_scheduler: _ParamScheduler | dict[str, Any] | list[Any] | None = None,
        train_cfg: dict[str, Any] | None = None,
        val_dataloader: Iterable[Any] | None = None,
        val_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        val_cfg: dict[str, Any] | None = None,
        test_dataloader: Iterable[Any] | None = None,
        test_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        strategy: dict[str, Any] | None = None,
        auto_scale_lr: dict[str, Any] | None = None,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[Any] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
        load_from: str | None = None,
        resume: bool | str | dict[str, Any] = False,
        launcher: str | None = None,
        env_cfg: dict[str, Any] | None = None,
        log_processor: LogProcessor | dict[str, Any] | None = None,
        log_level: str | int = "INFO",
        visualizer: Visualizer | dict[str, Any] | None = None,
        default_scope: str | None = "mmengine",
        randomness: dict[str, Any] | None = None,
        compile: bool | dict[str, Any] = False,
        cfg: Config | dict[str, Any] | None = None,
        trainer: dict[str, Any] | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in ARGUMENTS}
        if not (strategy is None or isinstance(strategy, dict)):
            # A live strategy of MMEngine's would build and drive the model by itself.
            raise ArgumentError(f"strategy={strategy!r} → a dict(type='DDPStrategy', …) is needed")
        if not isinstance(compile, bool | dict):
            raise ArgumentError(f"compile should be a bool or dict, but got {compile!r}")
        if isinstance(resume, str) and resume != MUST:
            if load_from is not None:
                raise ArgumentError(
                    f"resume={resume!r} and load_from={load_from!r} → If resume is a str, "
                    "load_from should be None"
                )
            # Runner has only a flag for it, and takes the path from load_from.
            given.update(load_from=resume, resume=True)
        own = {"strategy": strategy, "compile": compile}
        whole = Config(
            {
                **(dict(cfg.items()) if cfg is not None else {}),
                **{k: v for k, v in own.items() if v},
            },
            filename=getattr(cfg, "filename", None),
        )
        # Only FlexibleRunner looks for a launcher by itself; the default of Runner is "none".
        given["launcher"] = infer_launcher() if launcher is None else launcher
        super().__init__(**given, cfg=whole, trainer=trainer)

    @property
    def strategy(self) -> Any:
        """The Trainer's strategy, which does what MMEngine's would; see :mod:`mm2pl._strategy`."""
        return self.trainer.strategy

    @classmethod
    def from_cfg(
        cls, cfg: Config | dict[str, Any], *, trainer: dict[str, Any] | None = None
    ) -> Self:
        """Make a runner from a whole config.

        Args:
            cfg: The config.
            trainer: As for the class itself.

        Raises:
            KeyError: If ``model`` is missing.
        """
        cfg = copy.deepcopy(cfg)
        if "model" not in cfg:
            raise ReadableKeyError("the config has no 'model' → FlexibleRunner.from_cfg needs it")
        # MMEngine 0.10.7 leaves `compile` out here, although its docstring promises `cfg.compile`.
        given = {name: cfg.get(name, default) for name, default in _ARGUMENTS.items()}
        if trainer is not None:
            given["trainer"] = trainer
        return cls(**given, cfg=cfg)


_ARGUMENTS = arguments_of(FlexibleRunner)
"""The arguments of MMEngine's FlexibleRunner and their defaults."""
