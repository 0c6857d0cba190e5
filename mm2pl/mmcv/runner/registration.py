"""How a 1.x runner gets its hooks, and calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mm2pl.errors import ArgumentError, ReadableKeyError, UnsupportedError
from mm2pl.hooks import Hook as EngineHook
from mm2pl.mmcv.runner.builder import HOOKS
from mm2pl.mmcv.runner.hooks.hook import Hook
from mm2pl.run.priority import Priority, get_priority

_FLOW_HOOKS = {"before_train_iter", "after_train_iter", "before_val_iter", "after_val_iter"}


class HookRegistration:
    """The part of a runner that has hooks."""

    _hooks: list[Any]
    _inner_iter: int
    outputs: dict[str, Any]

    @property
    def hooks(self) -> list[Any]:
        """The hooks, in the order in which they are called."""
        return self._hooks

    def register_hook(self, hook: Any, priority: int | str | Priority = "NORMAL") -> None:
        """Add a hook; among equal priorities the one registered first is called first.

        Args:
            hook: A 1.x hook, or one of `mm2pl.hooks`.
            priority: A name or number; the lower the earlier.

        Raises:
            TypeError: ``hook`` is not a Hook.
            ValueError: It has a ``priority`` already.
        """
        if not isinstance(hook, Hook | EngineHook):
            raise ArgumentError(f"hook={hook!r} must be a Hook.")
        # MMEngine's hooks have `priority` as a class attribute, so only 1.x hooks can be asked.
        if isinstance(hook, Hook) and hasattr(hook, "priority"):
            raise ArgumentError('"priority" is a reserved attribute for hooks')
        number = get_priority(priority)
        registered: Any = hook
        registered.priority = number
        # Equal priorities keep the order of registration, as in MMCV
        # 1.7.2. CheckpointHook comes before custom hooks,
        # so a custom EMAHook needs a priority below 50 to have its average saved.
        later = (i for i, other in enumerate(self._hooks) if other.priority > number)
        self._hooks.insert(next(later, len(self._hooks)), registered)

    def register_hook_from_cfg(self, hook_cfg: dict[str, Any]) -> None:
        """Build a hook, and add it with the config's ``priority``."""
        config = dict(hook_cfg)
        # In 1.x the priority stands in the hook's config, but is not an argument of its constructor.
        priority = config.pop("priority", "NORMAL")
        self.register_hook(HOOKS.build(config), priority=priority)

    def call_hook(self, fn_name: str) -> None:
        """Call one point of every hook."""
        for hook in self._hooks:
            # IterBasedRunner calls `before_epoch` and `after_epoch`, which
            # MMEngine 0.10.7's hooks have as private names only.
            method = getattr(hook, fn_name, None)
            if method is None:
                continue
            if isinstance(hook, EngineHook):
                method(self, **self._engine_arguments(fn_name))
            else:
                method(self)

    def _engine_arguments(self, point: str) -> dict[str, Any]:
        """Return what hooks of today get in addition to the runner."""
        if point not in _FLOW_HOOKS:
            return {}
        arguments = {"batch_idx": self._inner_iter, "data_batch": getattr(self, "data_batch", None)}
        return {**arguments, "outputs": self.outputs} if point.startswith("after") else arguments

    def get_hook_info(self) -> str:
        """Return which hooks are called at each point, as text."""
        parts = []
        for stage in Hook.stages:
            lines = [
                f"({_priority_name(hook.priority):<12}) {type(hook).__name__:<35}"
                for hook in self._hooks
                if stage in hook.get_triggered_stages()
            ]
            if lines:
                parts.append("\n".join([f"{stage}:", *lines, " -------------------- "]))
        return "\n".join(parts)

    def register_lr_hook(self, lr_config: Any) -> None:
        """Add the learning rate's hook, from a hook or ``dict(policy=…)``."""
        # Before all other hooks, so that they see the rate of this iteration.
        self._register(lr_config, "VERY_HIGH", lambda c: _by_policy(c, "LrUpdaterHook"))

    def register_momentum_hook(self, momentum_config: Any) -> None:
        """Add the momentum's hook, from a hook or ``dict(policy=…)``."""
        self._register(momentum_config, "HIGH", lambda c: _by_policy(c, "MomentumUpdaterHook"))

    def register_optimizer_hook(self, optimizer_config: Any) -> None:
        """Add the hook that steps, from a hook or its arguments."""
        # A custom hook with a priority below 40 runs before backward:
        # it sees the gradients of the iteration before.
        self._register(optimizer_config, "ABOVE_NORMAL", lambda c: {"type": "OptimizerHook", **c})

    def register_checkpoint_hook(self, checkpoint_config: Any) -> None:
        """Add the checkpoint hook, from a hook or its arguments."""
        self._register(checkpoint_config, "NORMAL", lambda c: {"type": "CheckpointHook", **c})

    def register_timer_hook(self, timer_config: Any) -> None:
        """Add the timer, from a hook or its config."""
        # After the optimizer's step and the checkpoint, whose time thus counts; before the loggers, which print it.
        self._register(timer_config, "LOW", dict)

    def register_logger_hooks(self, log_config: dict[str, Any] | None) -> None:
        """Add the loggers of ``dict(interval=…, hooks=[…])``."""
        for config in (log_config or {}).get("hooks", ()):
            # The interval of `log_config` is a default: a logger's own wins, as in MMCV 1.7.2.
            arguments = {"interval": log_config["interval"], **config}  # type: ignore[index]
            self._register(arguments, "VERY_LOW", dict)

    def register_profiler_hook(self, profiler_config: Any) -> None:
        """Refuse MMCV's profiler hook: the Trainer has profilers of its own."""
        if profiler_config is not None:
            raise UnsupportedError(
                "ProfilerHook → give the runner trainer=dict(profiler='simple'), or any of Lightning's profilers."
            )

    def register_custom_hooks(self, custom_config: Any) -> None:
        """Add hooks, from hooks or configs with a ``priority``."""
        if custom_config is None:
            return
        for item in custom_config if isinstance(custom_config, list) else [custom_config]:
            # MMCV 1.7.2 gives NORMAL to a hook object, which has no config to state its priority.
            if isinstance(item, dict):
                self.register_hook_from_cfg(item)
            else:
                self.register_hook(item, priority="NORMAL")

    def _register(self, config: object, priority: str, to_cfg: Callable[[Any], dict]) -> None:
        if config is not None:
            hook = HOOKS.build(to_cfg(config)) if isinstance(config, dict) else config
            self.register_hook(hook, priority=priority)

    def register_training_hooks(
        self,
        lr_config: Any,
        optimizer_config: Any = None,
        checkpoint_config: Any = None,
        log_config: dict[str, Any] | None = None,
        momentum_config: Any = None,
        timer_config: Any = None,
        custom_hooks_config: Any = None,
    ) -> None:
        """Add what every training needs; each from a hook, a config, or None to leave it out.

        The priorities: lr VERY_HIGH (10), momentum HIGH (30), optimizer ABOVE_NORMAL (40), checkpoints NORMAL (50),
        timer LOW (70), loggers VERY_LOW (90); custom hooks NORMAL unless they say otherwise.
        """
        self.register_lr_hook(lr_config)
        self.register_momentum_hook(momentum_config)
        self.register_optimizer_hook(optimizer_config)
        self.register_checkpoint_hook(checkpoint_config)
        # IterBasedRunner's signature in MMCV 1.7.2 has no timer: it always registers this one.
        timer = {"type": "IterTimerHook"} if timer_config is None else timer_config
        self.register_timer_hook(timer)
        self.register_logger_hooks(log_config)
        self.register_custom_hooks(custom_hooks_config)


def _by_policy(config: dict[str, Any], suffix: str) -> dict[str, Any]:
    config = dict(config)
    if "policy" not in config:
        raise ReadableKeyError(
            f"{config!r} has no policy → such as dict(policy='step', step=[8, 11])."
        )
    policy = config.pop("policy")
    # MMCV 1.7.2: 'step' → StepLrUpdaterHook, but 'CosineAnnealing' keeps its inner capital.
    title = policy.title() if policy == policy.lower() else policy
    return {"type": title + suffix, **config}


def _priority_name(priority: object) -> str:
    try:
        return Priority(priority).name
    except ValueError:
        return str(priority)
