"""The Lightning objects of a run, made in MMEngine's order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError
from mm2pl.lightning.callbacks import RunCallback
from mm2pl.lightning.datamodule import MMDataModule
from mm2pl.lightning.guest import GuestModule, is_guest
from mm2pl.lightning.guest_data import build_data
from mm2pl.lightning.module import MMLightningModule
from mm2pl.lightning.trainer import class_with_arguments, make_trainer
from mm2pl.model.meta import refuse_meta
from mm2pl.plan.containers import live_objects
from mm2pl.plan.processes import strategy_of
from mm2pl.run.undo import undone_on_failure

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mm2pl.run.run import Run


class Parts:
    """Make the module, the data module and the Trainer of a run from its plan.

    A command line makes them from its own options: :func:`made_by` puts another maker in place for the runs that are
    begun inside it. So it does not depend on the signature of the Runner subclass that begins them.
    """

    @property
    def flags(self) -> dict[str, Any]:
        """The Trainer arguments that were given in addition to the config and that the plan must know."""
        return {}

    def module(self, arguments: dict[str, Any]) -> MMLightningModule:
        """Make the module; ``arguments`` are those of :class:`MMLightningModule`."""
        return MMLightningModule(**arguments)

    def datamodule(self, arguments: dict[str, Any]) -> MMDataModule:
        """Make the data module; ``arguments`` are those of :class:`MMDataModule`."""
        return MMDataModule(**arguments)

    def take(self, name: str, made: Any) -> None:
        """Take a ``model`` or ``data`` that the run has found built: the user's own."""

    def trainer(self, arguments: dict[str, Any], callback: RunCallback) -> Trainer:
        """Make the Trainer; ``arguments`` are the plan's, in LightningCLI's form."""
        return make_trainer(arguments, callback)


_PARTS: ContextVar[Parts] = ContextVar("parts", default=Parts())  # noqa: B039 - has no state


def current_parts() -> Parts:
    """Return who makes the Lightning objects of the runs that begin now."""
    return _PARTS.get()


@contextmanager
def made_by(parts: Parts) -> Iterator[None]:
    """Let ``parts`` make the Lightning objects of the runs that are begun inside."""
    token = _PARTS.set(parts)
    try:
        yield
    finally:
        _PARTS.reset(token)


def _module(run: Run, parts: Parts) -> Any:
    plan, model = run.plan.model, run.build_model()
    if is_guest(model):
        if run.meta_init:
            raise ArgumentError(
                f"strategy has meta_init=True, and {type(model).__name__} is a LightningModule → leave it out; its "
                "configure_model may build on the meta device and shard what it has built"
            )
        guest = GuestModule(**{**plan, "model": model})
        parts.take("model", guest.lightning_module)
        return guest
    if not run.meta_init:
        refuse_meta(model)
    module = parts.module({**plan, "model": model})
    # The built model is not a hyper-parameter; what it was built from is, for load_from_checkpoint.
    plain = {name: value for name, value in plan.items() if not live_objects(value)}
    module.save_hyperparameters(plain, logger=False)
    return module


def _datamodule(run: Run, parts: Parts) -> Any:
    given = run.options.get("datamodule")
    if given is not None:
        guest = build_data(given, run.seed)
        parts.take("data", guest.lightning_datamodule)
        return guest
    # The seed that was drawn where the config names none: samplers and workers of all processes derive from it.
    return parts.datamodule(
        {**run.plan.data, "seed": run.seed, "diff_rank_seed": run.diff_rank_seed}
    )


def _tell_mistakes_of_unused_strategy(run: Run) -> None:
    """Warn of a strategy that several processes would refuse; one process makes none, so nothing else would tell.

    This is not an error: with one process MMEngine ignores the wrapper of a project, and so trains.
    """
    asked = run.cfg.get("strategy") or run.cfg.get("model_wrapper_cfg")
    if not asked or "strategy" in run.plan.trainer:
        return
    try:
        class_with_arguments(strategy_of(run.cfg.to_dict()))
    except ArgumentError as error:
        run.logger.warning(f"one process needs no strategy; several will refuse this one: {error}")


def assemble(run: Run) -> None:
    """Open a run, build its model, make its Lightning objects and bind them together."""
    parts, plan = current_parts(), run.plan
    with undone_on_failure():
        # First: it seeds the generators from which the model's own `__init__` draws its weights.
        run.open()
        _tell_mistakes_of_unused_strategy(run)
        module, datamodule = _module(run, parts), _datamodule(run, parts)
        callback = RunCallback(**plan.run)
        trainer = parts.trainer(plan.trainer, callback)
        callback.attach(run, trainer, module, datamodule)
