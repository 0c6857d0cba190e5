"""What a config says about groups of parameters, as far as it is known without a model."""

from __future__ import annotations

from typing import Any

from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.utils.numbers import is_number

OPTIONS = (
    *("bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "flat_decay_mult"),
    *("dwconv_decay_mult", "dcn_offset_lr_mult", "bypass_duplicate", "custom_keys"),
)
"""The keys of ``paramwise_cfg``."""

# MMEngine 0.10.7 forgets `flat_decay_mult` here: without a weight decay it has no effect.
_NEED_WEIGHT_DECAY = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
_LR_MULTS = {"bias_lr_mult": "biases", "dcn_offset_lr_mult": "offsets"}


class ParamwiseSettings:
    """Check the config of an optimizer and of its groups, and tell what a rule of ``paramwise_cfg`` sets.

    Args:
        optim_wrapper_cfg: ``optimizer`` (with ``type``), and what else the wrapper takes.
        paramwise_cfg: The rules; None: there are none.

    Raises:
        TypeError: One of the configs, or a value in them, is of another type.
        KeyError: ``optimizer`` has no ``type``.
        AssertionError: There is no ``optimizer``.
        ValueError: A multiplier has no ``weight_decay`` or ``lr`` to multiply.
    """

    def __init__(
        self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None
    ) -> None:
        if not isinstance(optim_wrapper_cfg, dict):
            raise ArgumentError(f"optim_wrapper_cfg={optim_wrapper_cfg!r} must be a dict.")
        if "optimizer" not in optim_wrapper_cfg:
            raise ArgumentError(
                "`optim_wrapper_cfg` must contain `optimizer`, but its keys are "
                f"{list(optim_wrapper_cfg)}: add e.g. optimizer=dict(type='SGD', lr=0.01)."
            )
        # A shallow copy: an optimizer class, or a tensor in the config, stays the same object.
        self.optim_wrapper_cfg = optim_wrapper_cfg.copy()
        self.optimizer_cfg = self.optim_wrapper_cfg.pop("optimizer")
        self.paramwise_cfg = {} if paramwise_cfg is None else paramwise_cfg
        if not isinstance(self.optimizer_cfg, dict):
            raise ArgumentError(
                f"optimizer={self.optimizer_cfg!r} must be a dict such as dict(type='SGD', lr=0.01)."
            )
        self.base_lr = self.optimizer_cfg.get("lr", None)
        self.base_wd = self.optimizer_cfg.get("weight_decay", None)
        self._validate_cfg()
        if "type" not in self.optimizer_cfg:
            raise ReadableKeyError(
                f"optimizer={dict(self.optimizer_cfg)!r} lacks `type` → add e.g. type='SGD'."
            )
        for key, value in self.optimizer_cfg.items():
            # PyYAML follows YAML 1.1, in which a float needs a dot.
            if isinstance(value, str) and is_number(value):
                raise ArgumentError(
                    f"optimizer has {key}={value!r}, a text → a number is needed; YAML reads 1e-3 as a text and "
                    "1.0e-3 as a number."
                )

    def _validate_cfg(self) -> None:
        """Raise TypeError for a wrong type, ValueError for a multiplier of nothing."""
        if not isinstance(self.paramwise_cfg, dict):
            raise ArgumentError(f"paramwise_cfg={self.paramwise_cfg!r} must be a dict or None.")
        custom_keys = self.paramwise_cfg.get("custom_keys", {})
        if not isinstance(custom_keys, dict):
            raise ArgumentError(f"custom_keys={custom_keys!r} must be a dict of dicts.")
        for option in OPTIONS:
            mult = self.paramwise_cfg.get(option)
            # An inherited config can switch a rule off by None.
            if option.endswith("_mult") and not isinstance(mult, int | float | None):
                raise ArgumentError(f"paramwise_cfg: {option}={mult!r} must be a number.")
        for key, custom in custom_keys.items():
            if not isinstance(custom, dict):
                raise ArgumentError(
                    f"custom_keys[{key!r}]={custom!r} must be a dict such as dict(lr_mult=0.1)."
                )
        used = [key for key in _NEED_WEIGHT_DECAY if key in self.paramwise_cfg]
        used += [f"custom_keys[{k!r}]" for k, v in custom_keys.items() if "decay_mult" in v]
        if used and self.base_wd is None:
            raise ArgumentError(
                f"base_wd should not be None: {', '.join(used)} multiplies the weight decay → add "
                "weight_decay=... to `optimizer`."
            )

    def _custom_key(self, name: str) -> str | None:
        """Return the longest custom key in ``name``; of several the first in the alphabet."""
        found = [key for key in self.paramwise_cfg.get("custom_keys", {}) if key in name]
        # MMEngine sorts by the alphabet and then, stably, by falling length.
        return min(found, key=lambda key: (-len(key), key), default=None)

    def _custom_settings(self, key: str) -> dict[str, Any]:
        custom = self.paramwise_cfg["custom_keys"][key]
        # Also without `lr_mult`: MMEngine notes the base lr in each such group.
        settings = {"lr": self._scaled_lr(custom.get("lr_mult", 1.0))}
        if self.base_wd is not None:
            settings["weight_decay"] = self.base_wd * custom.get("decay_mult", 1.0)
        # All of it, `lr_mult` included, lands in the group and so in the checkpoint, as in MMEngine.
        return {**settings, **custom}

    def settings_by_rule(self) -> dict[str, dict[str, Any]]:
        """Return what each custom key and each multiplier of the lr sets: what is known without a model."""
        options = self.paramwise_cfg.get
        mults = {label: options(option) for option, label in _LR_MULTS.items()}
        settings = {k: {"lr": self._scaled_lr(m)} for k, m in mults.items() if m is not None}
        settings.update({key: self._custom_settings(key) for key in options("custom_keys", {})})
        return settings

    def _scaled_lr(self, factor: float) -> float:
        if self.base_lr is None:
            raise ArgumentError("paramwise_cfg multiplies the lr → add lr=... to `optimizer`.")
        return self.base_lr * factor
