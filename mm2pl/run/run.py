"""The run: the owner of everything that a training with its validations consists of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mm2pl.compat import config_for
from mm2pl.config import Config, as_config
from mm2pl.dataset import loader_config
from mm2pl.dataset.utils import length_of
from mm2pl.dist import broadcast, get_rank, get_world_size
from mm2pl.errors import ArgumentError, under_key
from mm2pl.logging.message_hub import share_with_mmengine
from mm2pl.model.meta import parameters_on_meta
from mm2pl.optim.abilities import can_be_built
from mm2pl.plan.explain import typed_doubts, warn
from mm2pl.plan.length import length_of_run
from mm2pl.plan.resume import resume_of
from mm2pl.registry import DefaultScope
from mm2pl.run.base_loop import drives
from mm2pl.run.continuing import Continuing
from mm2pl.run.environment import described, inherited_time_and_seed, make_folder
from mm2pl.run.faults import warn_of_faults
from mm2pl.run.meta_init import is_meta_init, loading_for_others, share_random_state
from mm2pl.run.model import change_model, require_step
from mm2pl.run.presence import Presence
from mm2pl.run.saving import Saving
from mm2pl.run.training import Training
from mm2pl.utils import import_modules_from_strings

if TYPE_CHECKING:
    from mm2pl.logging import MessageHub, MMLogger
    from mm2pl.plan.translate import Plan
    from mm2pl.run.eval_loops import EvalLoop
    from mm2pl.run.facade import RunnerFacade
    from mm2pl.run.log_processor import LogProcessor
    from mm2pl.run.loops import TrainLoop
    from mm2pl.run.protocols import (
        ByHandLike,
        DataModuleLike,
        ModuleLike,
        OthersLike,
        TellerLike,
        TrainerLike,
    )

STAGES = ("train", "val", "test")


class Run:
    """Own a run's settings, services, parts and position; nobody else assigns them.

    It is made from a :class:`~mm2pl.plan.translate.Plan` whoever asks for it, and knows no Lightning: ``trainer``,
    ``module`` and ``datamodule`` are handed to it by :meth:`attach`, and what it reads of them are the names of
    `mm2pl.run.protocols`.

    Args:
        plan: What a config asks for.
        cfg: The config itself, for ``runner.cfg``.

    Attributes:
        runner: The facade that hooks and loops get, and whose ``build_*`` methods make the parts.
        length_told: The Trainer's arguments for the length of the run, as the run has last said them.
        loops: Per stage its config, or the loop once something has asked for it; ``None`` for a stage that the run
            does not have.
        loaders: Per stage its config or loader.
        evaluators: The same for ``val`` and ``test``.
        hooks: In the order in which they are called.
        callbacks: Lightning callbacks among ``custom_hooks``.
        stage: What the Trainer is doing (``fit``, ``validate``, ``test``, ``predict``); ``None`` between two of them.
        saving: What a checkpoint is made of.
        continuing: Where the run goes on from one.
        training: The training as it goes on.
        presence: In the work folder.
        by_hand: What is around a training outside a fit.
        teller: Who tells Lightning what a loop that drives is doing; ``None`` while none does.
        returned: Per stage what a loop that drives has returned.
        reached: The point of the hooks that was called last.
        points: How many have been called.
        others: Who watches the other processes of the run; ``None`` if there are none.
    """

    runner: RunnerFacade
    timestamp: str
    experiment_name: str
    log_dir: str
    seed: int = 0
    deterministic: bool = False
    diff_rank_seed: bool = False
    default_scope: DefaultScope | None
    logger: MMLogger
    log_processor: LogProcessor
    message_hub: MessageHub
    visualizer: Any
    # None until :meth:`attach`; nothing that needs them is asked for before.
    trainer: TrainerLike | Any = None
    module: ModuleLike | Any = None
    datamodule: DataModuleLike | Any = None
    by_hand: ByHandLike | Any = None
    stage: str | None = None
    reached: str = ""
    points: int = 0
    others: OthersLike | None = None
    teller: TellerLike | None = None
    _model_name: str | None = None
    _opened_in: int

    def __init__(self, plan: Plan, cfg: Config | Mapping[str, Any] | None = None) -> None:
        settings = plan.run
        self.plan = plan
        self.length_told = dict(length_of_run(settings.get("train_cfg")))
        self.cfg = cfg if isinstance(cfg, Config) else Config(dict(cfg or {}))
        self.options: dict[str, Any] = settings.get("options") or {}
        self.work_dir = os.path.abspath(settings["work_dir"])
        self.launcher: str = settings.get("launcher") or "none"
        self.randomness: dict[str, Any] = {"seed": None, **(settings.get("randomness") or {})}
        self.loops: dict[str, Any] = {s: settings.get(f"{s}_cfg") for s in STAGES}
        self.loaders: dict[str, Any] = {
            s: loader_config(plan.data.get(f"{s}_dataloader")) for s in STAGES
        }
        self.evaluators: dict[str, Any] = {
            s: as_config(plan.model.get(f"{s}_evaluator")) for s in STAGES[1:]
        }
        self._built: Any = None
        self.meta_init = is_meta_init(plan.trainer.get("strategy"))
        self.auto_scale_lr: dict[str, Any] | None = plan.model.get("auto_scale_lr")
        self.hooks: list[Any] = []
        self.callbacks: list[Any] = []
        resume = resume_of(settings.get("resume"))
        self.continuing = Continuing(self, settings.get("load_from"), resume)
        self.saving = Saving(self)
        self.training = Training(self)
        self.presence = Presence(self)
        self.returned: dict[str, Any] = {}
        self._in_use: dict[str, EvalLoop] = {}  # by the Trainer
        self._given: dict[str, tuple[Any, int | None]] = {}  # loaders and lengths, to the Trainer

    # Beginning

    def serve(self, runner: RunnerFacade) -> None:
        """Take the facade through which the run is seen and its parts are built."""
        self.runner = runner
        self._optimizer_from: tuple[Any, Any] | None = None

    def open(self) -> None:
        """Set up the process and the services, before anything is built that could draw a random number.

        The order is that of MMEngine's ``Runner.__init__``; each step is a method of the runner, which a subclass may
        override.
        """
        runner, settings = self.runner, self.plan.run
        self._opened_in = os.getpid()
        runner._check_scheduler_cfg(self.plan.model.get("param_scheduler"))
        if settings.get("custom_imports"):
            import_modules_from_strings(**settings["custom_imports"])
        runner.setup_env(settings.get("env_cfg") or {})
        if self.is_first_process:
            warn([*self.plan.warnings, *typed_doubts(self.cfg)])
        runner.set_randomness(**self.randomness)
        file = settings.get("filename")
        name = settings.get("experiment_name") or (Path(file).stem if file else None)
        self.experiment_name = f"{name}_{self.timestamp}" if name else self.timestamp
        self.log_dir = str(Path(self.work_dir) / self.timestamp)
        make_folder(self.log_dir, settings["work_dir"], tries=self.is_first_process)
        scope = settings.get("default_scope", "mmengine")
        # With None, as released configs with `read_base()` have it, each registry starts from itself.
        self.default_scope = scope and DefaultScope.get_instance(
            self.experiment_name, scope_name=scope
        )
        with under_key("log_processor"):
            self.log_processor = runner.build_log_processor(settings.get("log_processor") or {})
        self.logger = runner.build_logger(settings.get("log_level") or "INFO")
        for note in self.plan.notes:
            self.logger.warning(note)
        if self.is_first_process:
            runner._log_env(settings.get("env_cfg") or {})
        self.message_hub = runner.build_message_hub()
        with under_key("visualizer"):
            self.visualizer = runner.build_visualizer(settings.get("visualizer"))
        if len(self.cfg) and self.is_first_process:
            self.visualizer.add_config(config_for(self.visualizer, self.cfg))

    @property
    def is_first_process(self) -> bool:
        """Return whether this process writes what all share; known before Lightning has joined its processes."""
        return get_rank() == 0 and inherited_time_and_seed() is None

    @property
    def has_values(self) -> bool:
        """Return whether this process makes the weights, and not only their shapes."""
        return not self.meta_init or self.is_first_process

    def build_model(self) -> nn.Module:
        """Build the model through the runner's ``build_model`` and ``wrap_model``, once.

        Raises:
            ValueError: An override of ``wrap_model`` has wrapped the model for several processes.
        """
        model = as_config(self.plan.model.get("model"))
        preprocessor = self.plan.model.get("data_preprocessor")
        if isinstance(model, dict) and preprocessor is not None:
            model.setdefault("data_preprocessor", as_config(preprocessor))
        with under_key("model"), nullcontext() if self.has_values else parameters_on_meta():
            self._built = self.runner.build_model(model)
        wrapper = self.options.get("model_wrapper_cfg")
        made = self._built = self.runner.wrap_model(wrapper, self._built)
        if isinstance(made, DistributedDataParallel):
            raise ArgumentError(
                f"{type(self.runner).__name__}.wrap_model returned a {type(made).__name__} → the Trainer's "
                "strategy wraps the model for several processes → return the model itself, and say how in "
                "model_wrapper_cfg"
            )
        return made

    def attach(
        self,
        trainer: TrainerLike,
        module: ModuleLike,
        datamodule: DataModuleLike,
        by_hand: ByHandLike,
    ) -> None:
        """Take up the Lightning objects that were made for this run."""
        self.trainer, self.module, self.datamodule = trainer, module, datamodule
        self.by_hand = by_hand
        # One table each, so that what is assigned here is what they build from.
        self.loaders, self.evaluators = datamodule.configs, module.evaluators

    def use_seed(self, seed: int) -> None:
        """Go on with the seed of a resumed run; samplers and workers that are made from now on take it."""
        self.seed = seed

    def note_length(self, **arguments: int) -> None:
        """Take note of what the Trainer has just been told of the run's length."""
        self.length_told.update(arguments)

    # What the module holds, since Lightning asks it

    @property
    def model(self) -> nn.Module:
        """The bare model; Lightning's strategy wraps the module around it, never the model itself."""
        return self._built if self.module is None else self.module.model

    @model.setter
    def model(self, value: nn.Module) -> None:
        if self.module is None:
            self._built = value
        else:
            self.module.model = value

    @property
    def optim_wrapper(self) -> Any:
        """The optimizer wrapper, or what it will be built from."""
        return self.module.optim_wrapper

    @optim_wrapper.setter
    def optim_wrapper(self, value: object) -> None:
        self.module.optim_wrapper = value

    @property
    def param_schedulers(self) -> Any:
        """The schedules (a list, or a dict of lists for several optimizers), or what they will be built from."""
        built = self.module.param_schedulers
        return self.module.param_scheduler if built is None else built

    @param_schedulers.setter
    def param_schedulers(self, value: object) -> None:
        self.module.take_schedules(value)

    @property
    def model_name(self) -> str:
        """The class name of the model."""
        return self._model_name or type(self.model).__name__

    @model_name.setter
    def model_name(self, value: str) -> None:
        self._model_name = value

    # Processes

    @property
    def rank(self) -> int:
        """This process's global rank."""
        return get_rank() if self.trainer is None else self.trainer.global_rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return get_world_size() if self.trainer is None else self.trainer.world_size

    @property
    def distributed(self) -> bool:
        """Return whether several processes train together."""
        return self.launcher != "none" or self.world_size > 1

    # Loops

    @property
    def train_loop(self) -> TrainLoop:
        """The training loop; only to be asked for once it is built."""
        return self.loops["train"]

    @property
    def by_epoch(self) -> bool:
        """Return whether the training loop, or the config of one, counts epochs."""
        loop = self.loops["train"]
        if isinstance(loop, dict):
            return loop.get("by_epoch", "max_epochs" in loop)
        return getattr(loop, "by_epoch", True)

    @property
    def epoch(self) -> int:
        """Epochs finished so far."""
        loop = self.loops["train"]
        return 0 if loop is None or isinstance(loop, dict) else loop.epoch

    @property
    def iter(self) -> int:
        """Iterations finished so far."""
        loop = self.loops["train"]
        return 0 if loop is None or isinstance(loop, dict) else loop.iter

    def loop_of(self, stage: str) -> Any:
        """Return a stage's loop, built through the runner when it is first asked for.

        Raises:
            ValueError: If the run has no loader for that stage.
        """
        loop = self.loops[stage]
        if loop is None or isinstance(loop, dict):
            build = getattr(self.runner, f"build_{stage}_loop")
            with under_key(f"{stage}_cfg", before_parts=f"{stage}_"):
                loop = self.loops[stage] = build({} if loop is None else loop)
        return loop

    def loader_of(self, stage: str) -> Any:
        """Return the loader of a stage, or the config of it.

        Raises:
            ValueError: If the run has none.
        """
        loader = self.loaders.get(stage)
        if loader is None:
            raise ArgumentError(
                f"there is no {stage}_dataloader in this run → add one, or leave out {stage}_cfg"
            )
        return loader

    def take_loader(self, stage: str, loader: Any) -> Any:
        """Go on with a loader that has been made anew between two epochs; return what the Trainer is given of it.

        Raises:
            ValueError: It has another number of batches.
        """
        loop = self.loop_of(stage)
        if stage == "train":
            length = self.limited(len(loader))
            if length != loop.epoch_length:
                raise ArgumentError(
                    f"reload_dataloaders_every_n_epochs: train_dataloader() returned {length} batches, and "
                    f"{loop.epoch_length} before → the epochs of a run have one length, by which schedules and "
                    "validations are planned → return as many, or train by iterations"
                )
            self.training.reload(loader)
        loop.dataloader = loader
        return self.training.stream if stage == "train" else loader

    def evaluation_parts(self, stage: str) -> dict[str, Any]:
        """Return what the loop of ``val`` or ``test`` is made of."""
        return {"dataloader": self.loader_of(stage), "evaluator": self.evaluators[stage]}

    def limited(self, length: int) -> int:
        """Apply ``Trainer(limit_train_batches=…)`` and ``fast_dev_run`` to a number of batches."""
        limit = self.trainer.limit_train_batches
        if limit == self.length_told.get("limit_train_batches"):
            return length  # what the plan itself has told the Trainer is not a limit of the user's
        return min(length, limit) if isinstance(limit, int) else int(length * limit)

    # What the callback asks for

    def enter(self, stage: str) -> None:
        """Begin ``fit``, ``validate``, ``test`` or ``predict``."""
        self.by_hand.end()
        self.stage = stage
        if os.getpid() != self._opened_in:
            self._opened_in = os.getpid()
            self.logger.follow_rank()
        share_with_mmengine(self.message_hub)

    def prepare(self, stage: str) -> None:
        """Build what the stage needs, in MMEngine's order."""
        # As a whole it may have no room there; torch's `fully_shard` gives it that method with its parts.
        if not self.meta_init or hasattr(self.model, "reshard"):
            self.module.to(self.trainer.strategy.root_device)
        if stage == "fit":
            self._prepare_fit()
        else:
            if stage != "predict":  # which needs a model and data, and nothing that judges
                self._prepare_evaluation("val" if stage == "validate" else "test")
            self.runner.call_hook("before_run")
        with loading_for_others():
            self.runner.load_or_resume()

    def leave(self, error: BaseException | None = None) -> None:
        """End what :meth:`enter` has begun, or what an error has ended: Lightning calls no ``teardown`` then."""
        self.stage = None
        self.presence.end(error)

    def _prepare_fit(self) -> None:
        runner = self.runner
        loop = self.loop_of("train")
        if self.module.follows_lightning:
            self._require_usual_steps(loop)
        elif not (drives(loop) or loop.overrides_run_iter):
            require_step(self.model, "train")
        self.training.forget_interruption()
        stream = self.training.open_stream(loop)
        self.datamodule.use_loader("train", stream)
        for note in self._build_optimizer():
            self.logger.warning(note)
        self.require_known_way(loop, drives(loop))
        self._build_schedules()
        if self.loops["val"] is not None:
            self._prepare_evaluation("val")
        warn_of_faults(self)
        runner.call_hook("before_run")
        runner._init_model_weights()
        change_model(self.model, self.options)

    def _build_optimizer(self) -> list[str]:
        """Build the optimizer wrapper, and return what :meth:`choose_optimization` has to say of it."""
        if not self.module.brings_optimizers:
            if can_be_built(self.optim_wrapper):
                self._optimizer_from = self.optim_wrapper, self.param_schedulers
            with under_key("optim_wrapper"):
                self.optim_wrapper = self.runner.build_optim_wrapper(self.optim_wrapper)
        return self.module.choose_optimization()

    def _build_schedules(self) -> None:
        """Scale the learning rates, and build the schedules that start from them."""
        if not self.module.brings_optimizers:
            self.runner.scale_lr(self.optim_wrapper, self.auto_scale_lr)
        if self.param_schedulers is not None:
            with under_key("param_scheduler"):
                self.param_schedulers = self.runner.build_param_scheduler(self.param_schedulers)

    def build_optimizer_anew(self) -> None:
        """Build the optimizer and the schedules again for the parameters that there are now, if a config says how."""
        if self._optimizer_from is None:
            self.module.choose_optimization()
            return
        self.optim_wrapper, self.param_schedulers = self._optimizer_from
        # What the first building had to say has been said.
        self._build_optimizer()
        self._build_schedules()

    def _prepare_evaluation(self, stage: str) -> None:
        loop: EvalLoop = self.loop_of(stage)
        if self.module.follows_lightning:
            self._require_usual_steps(loop)
        elif not (drives(loop) or loop.overrides_run_iter):
            require_step(self.model, stage)
        if not drives(loop):  # which may have several loaders, and evaluators of any kind
            self._given.pop(stage, None)  # a data module gives it back when a verb ends
            self.use_loop(stage)
            self.use_loader(stage)

    def require_known_way(self, loop: Any, driven: bool) -> None:
        """Refuse a train loop that is now other than the Trainer has been made ready for.

        Args:
            loop: The loop.
            driven: Whether the Trainer leaves it to the loop to go through the data.

        Raises:
            ValueError: It goes through the data itself only now, or it steps although Lightning does.
        """
        if drives(loop) and not driven:
            raise ArgumentError(
                f"{type(loop).__name__} has been given a run or run_epoch of its own within the run → the Trainer "
                "makes room for it when it begins → assign it before the run"
            )
        if self.module.automatic_optimization and (driven or loop.overrides_run_iter):
            raise ArgumentError(
                f"{type(loop).__name__} drives the optimizer itself → drop the Trainer flags that "
                f"clip, accumulate or scale, and set them in optim_wrapper"
            )

    def use_loop(self, stage: str) -> None:
        """Evaluate with the loop that the run has now: a hook may have assigned another.

        Raises:
            ValueError: It goes through the data itself, for which the Trainer would have to know it from the start.
        """
        if self.loops[stage] is None:
            return
        loop = self.loop_of(stage)
        if drives(loop):
            raise ArgumentError(
                f"{type(loop).__name__} goes through the data itself → the Trainer makes room for such a loop when it "
                f"begins → name it in {stage}_cfg, or assign it before the run"
            )
        self._in_use[stage] = loop
        self.module.use_loop(stage, loop)

    def use_loader(self, stage: str) -> bool:
        """Give the Trainer the loader of an evaluation; return whether it has another one, or another length."""
        if stage not in self._in_use:
            return False
        loader = self._in_use[stage].dataloader
        given = loader, length_of(loader)
        if self._given.get(stage) == given:
            return False
        self._given[stage] = given
        self.datamodule.use_loader(stage, loader)
        return True

    def _require_usual_steps(self, loop: Any) -> None:
        """Refuse a loop that calls the steps of an MMEngine model, which a LightningModule of a user's has not."""
        if drives(loop) or loop.overrides_run_iter:
            raise ArgumentError(
                f"{type(loop).__name__} calls the steps of an MMEngine model, and {type(self.model).__name__} is a "
                "LightningModule → leave out type in the *_cfg and give one loader per stage, or give a model with "
                "train_step, val_step, test_step"
            )

    def init_weights(self) -> None:
        """Call the model's ``init_weights``, and give every process the first one's weights."""
        initialize = getattr(self.model, "init_weights", None)
        if initialize is not None and not self.module.follows_lightning and self.has_values:
            initialize()
            if self.trainer.world_size > 1 and not self.meta_init:
                for tensor in self.model.state_dict().values():
                    # In place: what Lightning's strategies broadcast is an object, which they return.
                    broadcast(tensor)
        if self.meta_init and not self.diff_rank_seed:
            share_random_state()

    # The log

    def log_environment(self, env_cfg: Mapping[str, Any]) -> None:
        """Write the machine, the settings of the process and the config into the log."""
        settings = {
            **env_cfg,
            **self.randomness,
            "seed": self.seed,
            "Distributed launcher": self.launcher,
            "Distributed training": self.distributed,
            "GPU number": self.world_size,
        }
        self.logger.info(described(settings))
        if len(self.cfg):
            self.logger.info(f"Config:\n{self.cfg.pretty_text}")

    def dump_config(self) -> None:
        """Write the config into the work folder, under its own name."""
        file = self.plan.run.get("filename")
        name = Path(file).name if file else f"{self.timestamp}.py"
        self.cfg.dump(str(Path(self.work_dir) / name))
