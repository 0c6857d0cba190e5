"""The surface of MMEngine's Runner over a :class:`~mm2pl.run.run.Run`: live in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mm2pl.dataset import batch_size_of
from mm2pl.dataset.utils import length_of
from mm2pl.dist import is_distributed
from mm2pl.errors import ArgumentError, under_key
from mm2pl.model import revert_sync_batchnorm
from mm2pl.optim import as_optim_wrapper, build_param_schedulers
from mm2pl.optim import scale_lr as scale_rates
from mm2pl.optim.abilities import holds_several, is_optim_wrapper, wrappers_of
from mm2pl.optim.scheduler.builder import per_optimizer
from mm2pl.plan.resume import Choice
from mm2pl.plan.translate import check_schedules
from mm2pl.run import building
from mm2pl.run.aliases import fixed, of, part
from mm2pl.run.environment import set_random_seed, setup_env
from mm2pl.run.model import build_model
from mm2pl.run.other_package import refuse_other_package
from mm2pl.run.view import RunnerView

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch.optim import Optimizer

    from mm2pl.checkpoint.reader import MapLocation
    from mm2pl.config import Config
    from mm2pl.lightning import MMDataModule, MMLightningModule
    from mm2pl.logging import MessageHub, MMLogger
    from mm2pl.optim import OptimWrapper, _ParamScheduler
    from mm2pl.registry import DefaultScope
    from mm2pl.registry.root import BuiltModel
    from mm2pl.run.base_loop import BaseLoop
    from mm2pl.run.eval_loops import EvalLoop
    from mm2pl.run.log_processor import LogProcessor
    from mm2pl.run.loops import TrainLoop
    from mm2pl.run.priority import Priority
    from mm2pl.run.protocols import HookLike
    from mm2pl.run.run import Run
    from mm2pl.visualization import Visualizer


class RunnerFacade(RunnerView):
    """The ``runner`` of a run.

    Each name of MMEngine's Runner reads the run and, assigned, changes it; each ``build_*`` may be overridden and is
    called where MMEngine calls it.
    """

    # Names under which public code reads and assigns, although half of them are private in MMEngine 0.10.7.
    trainer: Trainer = of("trainer")
    mm_module: Any = of("module")
    cfg: Config = of("cfg")
    logger: MMLogger = of("logger")
    message_hub: MessageHub = of("message_hub")
    log_processor: LogProcessor = of("log_processor")
    visualizer: Any = of("visualizer")
    default_scope: DefaultScope | None = of("default_scope")
    work_dir: str = of("work_dir")
    _work_dir: str = of("work_dir")
    log_dir: str = of("log_dir")
    _log_dir: str = of("log_dir")
    timestamp: str = of("timestamp")
    _timestamp: str = of("timestamp")
    experiment_name: str = of("experiment_name")
    _experiment_name: str = of("experiment_name")
    launcher: str = fixed("launcher")
    _launcher: str = fixed("launcher")
    rank: int = fixed("rank")
    _rank: int = fixed("rank")
    world_size: int = fixed("world_size")
    _world_size: int = fixed("world_size")
    distributed: bool = fixed("distributed")
    _distributed: bool = fixed("distributed")
    model_name: str = of("model_name")
    _model_name: str = of("model_name")
    seed: int = of("seed")
    _seed: int = of("seed")
    deterministic: bool = of("deterministic")
    _deterministic: bool = of("deterministic")
    diff_rank_seed: bool = of("diff_rank_seed")
    _randomness_cfg: dict[str, Any] = of("randomness")
    hooks: list[Any] = of("hooks")
    _hooks: list[Any] = of("hooks")
    model: BuiltModel = of("model")
    optim_wrapper: Any = of("optim_wrapper")
    param_schedulers: Any = of("param_schedulers")
    auto_scale_lr: dict[str, Any] | None = of("auto_scale_lr")
    has_loaded: bool = of("continuing.has_loaded")
    _has_loaded: bool = of("continuing.has_loaded")
    _load_from: str | None = of("continuing.load_from")
    _resume: bool = of("continuing.resuming")
    _train_loop: Any = part("loops", "train")
    _val_loop: Any = part("loops", "val")
    _test_loop: Any = part("loops", "test")
    _train_dataloader: Any = part("loaders", "train")
    _val_dataloader: Any = part("loaders", "val")
    _test_dataloader: Any = part("loaders", "test")
    _val_evaluator: Any = part("evaluators", "val")
    _test_evaluator: Any = part("evaluators", "test")

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        run.serve(self)

    @property
    def module(self) -> MMLightningModule | Any:
        """The LightningModule that the Trainer is given."""
        return getattr(self._run.module, "lightning_module", None)

    @property
    def datamodule(self) -> MMDataModule | Any:
        """The LightningDataModule that the Trainer is given."""
        return getattr(self._run.datamodule, "lightning_datamodule", None)

    def overrides(self, method: str) -> bool:
        """Return whether a subclass has its own ``method`` in place of this class's."""
        return getattr(type(self), method) is not getattr(RunnerFacade, method)

    # Where the run is

    @property
    def epoch(self) -> int:
        """Epochs finished so far; 0 as long as nothing has asked for the training loop."""
        loop = self._run.loops["train"]
        return 0 if loop is None or isinstance(loop, dict) else loop.epoch

    @property
    def iter(self) -> int:
        """Iterations finished so far; 0 as long as nothing has asked for the training loop."""
        # Read several times per iteration: not by way of the run's own property.
        loop = self._run.loops["train"]
        return 0 if loop is None or isinstance(loop, dict) else loop.iter

    def loop_of(self, stage: str) -> TrainLoop | EvalLoop | Any:
        """Return the loop of ``train``, ``val`` or ``test``, built now if the run has not needed it yet.

        Raises:
            ValueError: If the run has no loader for that stage.
        """
        return self._run.loop_of(stage)

    @property
    def train_loop(self) -> TrainLoop | Any:
        """The training loop, built when it is first read; ``None`` for a run without ``train_cfg``."""
        loop = self._run.loops["train"]
        return self.loop_of("train") if isinstance(loop, dict) else loop

    @property
    def val_loop(self) -> EvalLoop | Any:
        """The validation loop, built when it is first read; ``None`` for a run without ``val_cfg``."""
        loop = self._run.loops["val"]
        return self.loop_of("val") if isinstance(loop, dict) else loop

    @property
    def test_loop(self) -> EvalLoop | Any:
        """The test loop, built when it is first read; ``None`` for a run without ``test_cfg``."""
        loop = self._run.loops["test"]
        return self.loop_of("test") if isinstance(loop, dict) else loop

    @property
    def has_val_loop(self) -> bool:
        """Return whether the run validates; asking builds nothing."""
        return self._val_loop is not None

    @property
    def by_epoch(self) -> bool:
        """Return whether the training loop counts epochs."""
        return self._run.by_epoch

    @property
    def is_inside_epoch(self) -> bool:
        """Return whether an epoch of a run by epochs has begun and not ended."""
        return self._run.by_epoch and self._run.training.epoch_open

    @property
    def is_cut_short(self) -> bool:
        """Return whether the Trainer ends the training here, before the end that the loop or a hook has set."""
        return self._run.training.is_cut_short

    def limit_train_batches(self, length: int) -> int:
        """Apply ``Trainer(limit_train_batches=…)`` and ``fast_dev_run`` to a number of batches."""
        return self._run.limited(length)

    # Setting up

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Apply an ``env_cfg``, join the launcher's processes, and take the time for the names of files."""
        self.timestamp = setup_env(env_cfg, self.launcher)

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed Python, NumPy and torch; ``seed=None`` draws a seed that all processes share."""
        self.deterministic, self.diff_rank_seed = deterministic, diff_rank_seed
        self.seed = set_random_seed(seed, deterministic, diff_rank_seed)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build a model from its dict; a module is returned as it is."""
        return build_model(model)

    def wrap_model(
        self, model_wrapper_cfg: Mapping[str, Any] | None, model: nn.Module
    ) -> nn.Module:
        """Return the model that the run trains: called once, when it has been built.

        What ``model_wrapper_cfg`` asks for is the Trainer's strategy, which wraps the whole LightningModule, so nothing
        is wrapped here. Without a launcher, SyncBN layers are turned back, as MMEngine does. An override may return a
        module around ``model``; a distributed one is refused, since gradients would be reduced twice.
        """
        return model if self.launcher != "none" else revert_sync_batchnorm(model)

    def build_optim_wrapper(self, optim_wrapper: Optimizer | OptimWrapper | dict) -> OptimWrapper:
        """Build an optimizer wrapper over the model; a built one is returned as it is."""
        made = as_optim_wrapper(self.model, optim_wrapper)
        if self._run.stage is None and is_distributed():  # a script's own loop may call no hooks
            self._run.by_hand.begin()
            self._run.by_hand.equip(made)
        return made

    def build_param_scheduler(self, scheduler: _ParamScheduler | dict | list) -> Any:
        """Build schedules over the built optimizer wrapper: a list, or a dict of lists for several optimizers.

        Raises:
            ArgumentError: If there is no built optimizer wrapper yet.
        """
        wrapper = self.optim_wrapper
        if not is_optim_wrapper(wrapper):
            raise ArgumentError(
                f"optim_wrapper={wrapper!r} → `build_optim_wrapper` should be called before "
                "`build_param_scheduler`"
            )
        if not holds_several(wrapper):
            return self._build_param_scheduler(scheduler, wrapper)
        wrappers = wrappers_of(wrapper)
        parts = per_optimizer(scheduler, list(wrappers))
        return {
            name: self._build_param_scheduler(parts[name], one) for name, one in wrappers.items()
        }

    def _build_param_scheduler(
        self, scheduler: _ParamScheduler | dict | list, optim_wrapper: OptimWrapper
    ) -> Any:
        # MMEngine's name for the schedules of one optimizer.
        loop = self.train_loop
        return build_param_schedulers(
            scheduler,
            optim_wrapper,
            max_epochs=loop.max_epochs,
            max_iters=loop.max_iters,
            epoch_length=length_of(loop.dataloader),
            by_epoch=loop.by_epoch,
        )

    def scale_lr(
        self, optim_wrapper: OptimWrapper, auto_scale_lr: dict[str, Any] | None = None
    ) -> None:
        """Scale the learning rates from ``base_batch_size`` to the real total batch size.

        Raises:
            ArgumentError: If the loader does not tell how large its batches are.
        """
        if (auto_scale_lr or {}).get("enable"):
            batch_size = batch_size_of(self.train_loop.dataloader)
            scale_rates(optim_wrapper, auto_scale_lr, batch_size * self.world_size)

    def build_train_loop(self, loop: BaseLoop | dict) -> Any:
        """Build the training loop from a ``train_cfg``; see :func:`mm2pl.run.building.train_loop`."""
        return building.train_loop(self, loop, self._run.loader_of("train"))

    def build_val_loop(self, loop: BaseLoop | dict) -> Any:
        """Build the validation loop from a ``val_cfg``."""
        return building.val_loop(self, loop, **self._run.evaluation_parts("val"))

    def build_test_loop(self, loop: BaseLoop | dict) -> Any:
        """Build the test loop from a ``test_cfg``."""
        return building.test_loop(self, loop, **self._run.evaluation_parts("test"))

    def build_log_processor(self, log_processor: LogProcessor | dict) -> LogProcessor:
        """Build the log processor from its dict; a built one is returned as it is."""
        return building.log_processor(log_processor)

    def build_logger(
        self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """Make the run's logger; it writes to the console and to ``work_dir/<timestamp>/<timestamp>.log``."""
        file = Path(log_file) if log_file else Path(self.log_dir) / f"{self.timestamp}.log"
        return building.logger(self, self.experiment_name, file, log_level, **kwargs)

    def build_message_hub(self, message_hub: MessageHub | dict | None = None) -> MessageHub:
        """Make the run's message hub; a built one is returned as it is."""
        return building.message_hub(self.experiment_name, message_hub)

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Any:
        """Build the visualizer; without a config it writes scalars to ``vis_data/`` in the log folder."""
        return building.visualizer(self.experiment_name, self.log_dir, visualizer)

    # MMEngine's private names, which projects override and hand-written loops call.

    def _check_scheduler_cfg(self, param_scheduler: _ParamScheduler | dict | list | None) -> None:
        check_schedules(param_scheduler)

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        self._run.log_environment(env_cfg)

    def _init_model_weights(self) -> None:
        self._run.init_weights()

    def _maybe_compile(self, target: str) -> None:
        self.mm_module.compile_step(target.removesuffix("_step"))

    # Hooks

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call one point of every hook that has it; where a loop drives, Lightning's callbacks are told of it too."""
        if fn_name == "before_train" and self._run.stage is None:
            self._run.by_hand.begin()
        self._run.reached = fn_name
        self._run.points += 1
        teller = self._run.teller
        if teller is None:
            super().call_hook(fn_name, **kwargs)
        else:
            teller.reach(fn_name, partial(super().call_hook, fn_name, **kwargs), kwargs)

    def register_hook(
        self, hook: HookLike | Mapping[str, Any], priority: int | str | Priority | None = None
    ) -> None:
        """Insert a hook behind those of the same or a higher priority.

        Args:
            hook: A hook, its dict, which may hold ``priority``, or the dict of a Lightning callback.
            priority: Overrides the hook's own; a name such as ``"VERY_LOW"`` or a number from 0 to 100.

        Raises:
            TypeError: If ``hook`` is neither a hook nor a dict, or its dict builds something else than a hook or a
                callback.
        """
        made = building.hook_of(hook, priority)
        refuse_other_package(made)
        if hasattr(made, "get_triggered_stages"):
            building.insert_by_priority(self.hooks, made)
        elif hasattr(made, "on_exception"):
            self._run.callbacks.append(made)
        else:
            raise ArgumentError(
                f"{made!r} is neither a hook nor a callback of Lightning → derive its class from mm2pl.hooks.Hook"
            )

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Register the six default hooks, changed and extended by ``hooks``; ``None`` as a value removes one."""
        for name, hook in {**building.DEFAULT_HOOKS, **(hooks or {})}.items():
            if hook is not None:
                with under_key(f"default_hooks.{name}"):
                    self.register_hook(hook)

    def register_custom_hooks(self, hooks: list[Any]) -> None:
        """Register further hooks."""
        for number, hook in enumerate(hooks):
            with under_key(f"custom_hooks.{number}"):
                self.register_hook(hook)

    def register_hooks(
        self, default_hooks: dict[str, Any] | None = None, custom_hooks: list[Any] | None = None
    ) -> None:
        """Register the default hooks and then the custom ones."""
        self.register_default_hooks(default_hooks)
        self.register_custom_hooks(custom_hooks or [])

    def get_hooks_info(self) -> str:
        """Describe which hooks act at which point, in their order."""
        return building.hooks_by_stage(self.hooks)

    # Logs

    def publish_scalars(self, scalars: Mapping[str, Any]) -> None:
        """Show a line of the training log to Lightning's callbacks too: ``EarlyStopping(monitor="loss")``."""
        super().publish_scalars(scalars)
        metrics = self.trainer.callback_metrics
        shown = {name: each for name, each in scalars.items() if name not in ("epoch", "iter")}
        floats = {name: value for name, value in shown.items() if isinstance(value, float)}
        # One tensor, not one for each: making it is what takes time.
        metrics.update(zip(floats, torch.tensor(list(floats.values())).unbind(), strict=True))
        for name, value in shown.items():
            if isinstance(value, int):
                metrics[name] = torch.tensor(value)

    def dump_config(self) -> None:
        """Write the config into the work folder, under its own name."""
        self._run.dump_config()

    # Checkpoints

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """Write a file that Lightning and MMEngine can both read. Every process must call this; the first one writes.

        Args:
            out_dir: Folder or URL.
            filename: Name of the file.
            file_client_args: Deprecated name of ``backend_args``.
            save_optimizer: Whether the file can be resumed; without it, it holds weights and metadata.
            save_param_scheduler: Whether the schedules' state is stored.
            meta: Further entries of ``meta``.
            by_epoch: Count the epoch that is just ending (hooks save before the counter moves), or the iteration.
            backend_args: Options of the file backend.

        Raises:
            TypeError: If ``meta`` is not a dict.
        """
        self._run.saving.save(
            out_dir,
            filename,
            meta=meta,
            by_epoch=by_epoch,
            optimizer=save_optimizer,
            schedules=save_param_scheduler,
            storage=backend_args or file_client_args,
        )

    def complete_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add MMEngine's keys and the exact state of the run, then let ``before_save_checkpoint`` hooks change it."""
        self._run.saving.complete(checkpoint)

    def accept_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let ``after_load_checkpoint`` hooks change what was read; when training, take over MMEngine's part of it.

        Raises:
            CheckpointError: If the weights are those of another model, or training is to continue from a file that
                holds weights only.
        """
        self._run.continuing.accept(checkpoint)

    def load_checkpoint(
        self,
        filename: str,
        map_location: MapLocation = "cpu",
        strict: bool = False,
        revise_keys: list[tuple[str, str]] = [(r"^module.", "")],  # noqa: B006 - as in MMEngine
    ) -> dict[str, Any]:
        """Load weights only, from an MMEngine, Lightning or bare state-dict file.

        Args:
            filename: Path or URL.
            map_location: Where the tensors go first.
            strict: Refuse a file whose keys are not exactly the model's.
            revise_keys: Pairs of pattern and replacement for the keys.

        Returns:
            The file's contents.
        """
        return self._run.continuing.load_weights(filename, map_location, strict, list(revise_keys))

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool | str = True,
        map_location: MapLocation = "default",
    ) -> None:
        """Load the weights of a checkpoint now; the next :meth:`train` continues its run.

        Args:
            filename: Path or URL.
            resume_optimizer: Whether the optimizer goes on from its state there.
            resume_param_scheduler: Whether the schedules do; ``"replan"``: they follow the plan of this run's config at
                the checkpoint's progress. See :class:`mm2pl.plan.resume.Choice`.
            map_location: Where the tensors go first; ``"default"`` is the run's device.
        """
        self._run.continuing.resume(
            filename,
            self.device if map_location == "default" else map_location,
            Choice(resume_optimizer, resume_param_scheduler),
        )

    def load_or_resume(self) -> None:
        """Do what ``load_from`` and ``resume`` ask for, once; without them nothing."""
        self._run.continuing.load_or_resume()
