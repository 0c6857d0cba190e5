"""A 1.x workflow on Lightning's Trainer: the one place where the two meet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.pytorch import LightningModule, Trainer
from torch.optim import Optimizer

from mm2pl.dist import get_world_size, is_distributed
from mm2pl.errors import ArgumentError
from mm2pl.lightning.ddp import MMDDPStrategy
from mm2pl.mmcv.parallel import MMDistributedDataParallel

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


class Workflow:
    """What a runner does next: validations are done in passing, training steps are given to the Trainer.

    Args:
        runner: The runner.
        loaders: One loader per flow.
        flows: Mode and how often, such as ``[('train', 2), ('val', 1)]``, repeated until the run is over.
        kwargs: Handed to the model's steps.

    Raises:
        ValueError: Nothing in it trains.
    """

    def __init__(
        self, runner: BaseRunner, loaders: list[Any], flows: list[tuple[str, int]], kwargs: dict
    ) -> None:
        self.runner = runner
        self.kwargs = kwargs
        self._steps = all_steps(runner, loaders, flows)
        trained = [
            loader for (mode, _), loader in zip(flows, loaders, strict=True) if mode == "train"
        ]
        # The loop of MMCV 1.7.2 ends only when training steps are
        # counted, so a workflow of 'val' alone runs forever there.
        if not trained:
            raise ArgumentError(
                f"workflow={flows!r} never trains, so it would never end → add ('train', 1), or call val(loader)."
            )
        self.loader: Any = trained[0]

    def to_next_training(self) -> bool:
        """Do what comes before the next training step, and set ``loader`` to its loader; False at the end."""
        for mode, loader in self._steps:
            if mode == "train":
                self.loader = loader
                return True
            # Every mode that is not 'train' is a method of the runner,
            # validation included: Lightning's own validation stays unused.
            getattr(self.runner, mode)(loader, **self.kwargs)
        self.loader = None
        return False


def all_steps(
    runner: BaseRunner, loaders: list[Any], flows: list[tuple[str, int]]
) -> Iterator[tuple[str, Any]]:
    """Yield mode and loader of each step, until the run is over."""
    # MMCV 1.7.2 asks whether the run is over only between whole workflows and before each training step.
    # So a 'val' flow after the last training flow still runs.
    while not runner.is_over:
        for (mode, times), loader in zip(flows, loaders, strict=True):
            runner.begin_flow()
            for _ in range(times):
                if mode == "train" and runner.is_over:
                    break
                yield mode, loader


class Batches:
    """The Trainer's loader: the batches of the workflow's training steps.

    Args:
        workflow: What is trained on.
        runner: The runner.
    """

    def __init__(self, workflow: Workflow, runner: BaseRunner) -> None:
        self.workflow = workflow
        self.runner = runner

    def __len__(self) -> int:
        # Lightning reads the length once. Flows may have loaders of
        # other lengths: begin_lightning_epoch corrects it.
        return self.runner.batches_per_lightning_epoch(self.workflow.loader)

    def __iter__(self) -> Iterator[Any]:
        # Lazy, since Lightning asks for its iterator before on_train_epoch_start; so random numbers are drawn
        # in MMCV's order.
        yield from self.runner.training_batches(self.workflow)


class RunnerModule(LightningModule):
    """Show a 1.x runner to the Trainer.

    Args:
        runner: The runner, whose model and optimizers are trained.
        workflow: What it does; None where the runner goes through the data itself, and these stages are not reached.
    """

    runner: BaseRunner
    workflow: Any

    def __init__(self, runner: BaseRunner, workflow: Workflow | None) -> None:
        super().__init__()
        # In MMCV 1.x a hook steps the optimizer (OptimizerHook), or the model does it in `train_step`.
        self.automatic_optimization = False
        self.model = runner.model
        self.__dict__["runner"] = runner  # no sub-module, and nothing to save
        self.__dict__["workflow"] = workflow

    def configure_optimizers(self) -> list[Optimizer]:
        """Return the runner's optimizers."""
        optimizer = self.runner.optimizer
        if isinstance(optimizer, dict):
            return list(optimizer.values())
        # MMCV 1.7.2 allows a runner without optimizer. For None Lightning would warn and install a mock.
        return [] if optimizer is None else [optimizer]

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Leave the batch as the loader made it: the model's wrapper unpacks and moves it."""
        return batch

    def on_fit_start(self) -> None:
        """Let ``optimizer.step()`` in hooks and models go through the Trainer's strategy."""
        optimizer = self.runner.optimizer
        if optimizer is None:
            return
        # One optimizer comes back bare, several as a list: Lightning unpacks the list of one.
        found = self.optimizers()
        wrapped = list(found) if isinstance(found, list) else [found]
        if isinstance(optimizer, dict):
            self.runner.optimizer = dict(zip(optimizer, wrapped, strict=True))
        else:
            self.runner.optimizer = wrapped[0]

    def on_train_start(self) -> None:
        """Begin the run; what comes before the first training step."""
        self.runner.begin_run()
        if not self.workflow.to_next_training():
            self.trainer.should_stop = True

    def on_train_epoch_start(self) -> None:
        """Begin one of the Trainer's epochs."""
        self.runner.begin_lightning_epoch(self.workflow)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Do one iteration."""
        self.runner.train_iteration(batch, batch_idx, self.workflow)

    def on_train_epoch_end(self) -> None:
        """End one of the Trainer's epochs, and do what comes before the next."""
        self.runner.end_lightning_epoch(self.workflow)

    def backward_of(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Run backward through the Trainer's strategy."""
        self.manual_backward(loss, **kwargs)


def fit(runner: BaseRunner, workflow: Workflow, epochs: int) -> None:
    """Run the workflow on a Trainer.

    Args:
        runner: The runner.
        workflow: What it does.
        epochs: How many of the Trainer's epochs that takes.
    """
    module = RunnerModule(runner, workflow)
    with attached(runner, module, epochs) as trainer:
        trainer.fit(module, train_dataloaders=Batches(workflow, runner))


@contextmanager
def attached(runner: BaseRunner, module: RunnerModule, epochs: int) -> Iterator[Trainer]:
    """Make a Trainer for a runner, which works through it inside."""
    trainer = Trainer(
        **{
            **dict(
                # Logs, checkpoints and the progress are 1.x hooks' work. Lightning's own would come on top of them.
                max_epochs=epochs,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                inference_mode=False,
                # 1.x toolboxes build DistributedSamplers themselves. Lightning's
                # would replace them and deal samples out otherwise.
                use_distributed_sampler=False,
                default_root_dir=runner.work_dir,
                **_devices(runner),
            ),
            **runner.trainer_arguments,
        }
    )
    runner.trainer, runner.module = trainer, module
    raw = runner.optimizer
    try:
        yield trainer
    finally:
        # After the run 1.x scripts save or step the optimizer without a Trainer; Lightning's wrapper needs one.
        runner.optimizer = raw
        runner.module = None


def _devices(runner: BaseRunner) -> dict[str, Any]:
    """Return the Trainer's device arguments: where the model already is, and the processes that there are."""
    parameter = next(runner.model.parameters(), None)
    # 1.x scripts move the model before they build the runner. Lightning must not move it elsewhere.
    device = torch.device("cpu") if parameter is None else parameter.device
    on_gpu = device.type == "cuda"
    arguments: dict[str, Any] = {"accelerator": "gpu" if on_gpu else "cpu"}
    if not is_distributed():
        return {**arguments, "devices": [device.index or 0] if on_gpu else 1}
    model = runner.model
    wrapped = model if isinstance(model, MMDistributedDataParallel) else None
    options = {**(wrapped.strategy_arguments if wrapped is not None else {})}
    # 1.x scripts give it next to `device_ids`. Lightning passes
    # `device_ids` itself, and torch's DDP derives the rest.
    options.pop("output_device", None)
    # Only torchrun sets LOCAL_WORLD_SIZE. Without it all processes are taken for those of one node.
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 0)) or get_world_size()
    return {
        **arguments,
        "devices": local,
        "num_nodes": max(1, get_world_size() // local),
        # The 1.x script has called `init_dist` already.
        # TorchElasticEnvironment says that no process is left to launch.
        "strategy": MMDDPStrategy(cluster_environment=TorchElasticEnvironment(), **options),
    }


def autocast(runner: BaseRunner) -> AbstractContextManager[Any]:
    """Return the context of an iteration: autocast if a hook has asked for it."""
    if runner.autocast_dtype is None:
        return nullcontext()
    parameter = next(runner.model.parameters())
    return torch.autocast(parameter.device.type, dtype=runner.autocast_dtype)
