"""From a config's dict to the object it describes."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError
from mm2pl.registry.errors import NotRegisteredError, RegistryKeyError, explain_failure
from mm2pl.registry.located import locations
from mm2pl.utils import get_object_from_string

if TYPE_CHECKING:
    from torch import nn

    from mm2pl.registry.registry import Registry


def build_from_cfg(cfg: Any, registry: Registry, default_args: Any = None) -> Any:
    """Call what ``cfg['type']`` names with the other keys; stands for `mmengine.build_from_cfg`.

    ``type`` is a name in ``registry``, an import path, or the class or function itself. It is
    looked up under the scope ``cfg['_scope_']``, else under the default scope. Subclasses of
    `ManagerMixin` are made by their ``get_instance``.

    Args:
        cfg: A dict or Config; not changed.
        registry: Where ``type`` is looked up.
        default_args: Values for keys that ``cfg`` does not have; may hold ``type``.

    Raises:
        RegistryKeyError: ``type`` is missing or not found.
        TypeError: An argument is unknown; the message names those that are accepted.
        Exception: What the constructor raises, with a note that names the type.
    """
    args = _merged(cfg, registry, default_args)
    # After the merge, since the defaults may bring it.
    if "type" not in args:
        raise RegistryKeyError(
            f'`cfg` or `default_args` must contain the key "type", but got {cfg}\n{default_args}'
        )
    with registry.switch_scope_and_registry(args.pop("_scope_", None)) as scoped:
        factory = resolve(args.pop("type"), scoped)
        return construct(factory, args, scoped)


def resolve(obj_type: Any, registry: Registry) -> Any:
    """Return the class or function that a config's ``type`` means.

    Raises:
        RegistryKeyError: The name is not found.
        TypeError: It is neither a name nor callable.
    """
    if isinstance(obj_type, str):
        found = registry.get(obj_type)
        if found is None:
            raise NotRegisteredError(obj_type, registry)
        return found
    if callable(obj_type):
        return obj_type
    raise ArgumentError(
        f"type must be a str or valid type, but got {type(obj_type)}: {obj_type!r}. "
        "Give the registered name, an import path, a class or a function."
    )


def construct(factory: Any, args: Any, registry: Registry) -> Any:
    """Call ``factory(**args)``; a failure names the type that was being built."""
    try:
        return (factory.get_instance if _is_managed(factory) else factory)(**args)
    except Exception as error:
        explain_failure(error, factory, args, registry)
        raise


def _is_managed(factory: Any) -> bool:
    # By name: MMEngine's own ManagerMixin counts too, and is not imported for that.
    return inspect.isclass(factory) and any(c.__name__ == "ManagerMixin" for c in factory.__mro__)


def _is_registry(registry: Any) -> bool:
    # By what is asked of it: the class itself builds by these functions, so it stands above them.
    return hasattr(registry, "switch_scope_and_registry") and not inspect.isclass(registry)


def _merged(cfg: Any, registry: Registry, default_args: Any) -> Any:
    """Return a shallow copy of ``cfg`` completed by ``default_args``."""
    if not _is_registry(registry):
        raise ArgumentError(
            f"registry must be a mmengine.Registry object, but got {type(registry)} → mm2pl.registry.Registry(name)"
        )
    args = _as_dict(cfg, "cfg should be a dict, ConfigDict or Config").copy()
    if default_args is not None:
        defaults = _as_dict(
            default_args, "default_args should be a dict, ConfigDict, Config or None"
        )
        for name, value in defaults.items():
            args.setdefault(name, value)
    return args


def _as_dict(cfg: Any, expected: str) -> Any:
    # What can be asked for, not the class: MMEngine's own Config is accepted as well.
    content = getattr(cfg, "_cfg_dict", None) if not isinstance(cfg, dict) else cfg
    if not isinstance(content, dict):
        raise ArgumentError(f"{expected}, but got {type(cfg)}")
    return content


def build_runner_from_cfg(cfg: Any, registry: Registry) -> Any:
    """Build the runner class that ``cfg['runner_type']`` names (default ``'Runner'``).

    Calls its ``from_cfg``; stands for `mmengine.registry.build_runner_from_cfg`.

    Raises:
        ArgumentError: ``cfg`` is not a config, or ``registry`` not a Registry.
    """
    if not isinstance(cfg, dict) and not hasattr(cfg, "_cfg_dict"):
        raise ArgumentError(f"cfg should be a dict, ConfigDict or Config, but got {type(cfg)}")
    if not _is_registry(registry):
        raise ArgumentError(f"registry should be a mm2pl.Registry object, but got {registry!r}")
    args = cfg.copy()
    with registry.switch_scope_and_registry(args.pop("_scope_", None)) as scoped:
        # As in MMEngine 0.10.7, the key stays, since from_cfg takes the whole config.
        runner_cls = resolve(args.get("runner_type", "Runner"), scoped)
        return runner_cls.from_cfg(args)


def build_model_from_cfg(cfg: Any, registry: Registry, default_args: Any = None) -> nn.Module:
    """Build one model, or of a list of configs a `mm2pl.model.Sequential`; see :func:`build_from_cfg`."""
    if not isinstance(cfg, list):
        return build_from_cfg(cfg, registry, default_args)
    models = [build_from_cfg(c, registry, default_args) for c in cfg]
    return get_object_from_string(locations().SEQUENTIAL)(*models)


def build_optimizer_from_cfg(cfg: Any, registry: Registry, default_args: Any = None) -> Any:
    """Build an optimizer as :func:`build_from_cfg` does.

    ``Adafactor`` is transformers', torch's is ``TorchAdafactor``.
    """
    return build_from_cfg(cfg, registry, default_args)


def build_scheduler_from_cfg(cfg: Any, registry: Registry, default_args: Any = None) -> Any:
    """Build a parameter scheduler; stands for `mmengine.registry.build_scheduler_from_cfg`.

    With ``convert_to_iter_based=True`` it is made by ``build_iter_from_epoch``, which takes
    ``epoch_length`` (iterations per epoch) too; otherwise that argument is left out.

    The arguments are those of :func:`build_from_cfg`.

    Raises:
        ArgumentError: An iteration-based scheduler is to be converted, or ``epoch_length`` is
            missing.
    """
    args = _merged(cfg, registry, default_args)
    with registry.switch_scope_and_registry(args.pop("_scope_", None)) as scoped:
        if not args.pop("convert_to_iter_based", False):
            # The runner gives it as a default to every schedule, but only a conversion takes it.
            args.pop("epoch_length", None)
            return build_from_cfg(args, scoped)
        # A schedule that does not say otherwise counts epochs.
        if not args.get("by_epoch", True):
            raise ArgumentError(
                f"convert_to_iter_based=True with by_epoch={args['by_epoch']!r} → only a schedule that counts epochs "
                "can be converted → leave one of the two out"
            )
        if "epoch_length" not in args:
            raise ArgumentError(
                "convert_to_iter_based=True needs epoch_length, the iterations of an epoch, and data without a length "
                "have none → give by_epoch=False and count begin and end in iterations"
            )
        scheduler_cls = resolve(args.pop("type"), scoped)
        return construct(scheduler_cls.build_iter_from_epoch, args, scoped)
