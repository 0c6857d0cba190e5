"""Initializers for configs: which modules, and by which of :mod:`mm2pl.model.init_functions`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn

from mm2pl.checkpoint.weights import (
    _load_checkpoint_with_prefix,
    load_checkpoint,
    load_state_dict,
)
from mm2pl.errors import ArgumentError, StateError
from mm2pl.logging import print_log
from mm2pl.model.init_functions import bias_init_with_prob as bias_init_with_prob
from mm2pl.model.init_functions import caffe2_xavier_init as caffe2_xavier_init
from mm2pl.model.init_functions import constant_init as constant_init
from mm2pl.model.init_functions import kaiming_init as kaiming_init
from mm2pl.model.init_functions import normal_init as normal_init
from mm2pl.model.init_functions import trunc_normal_ as trunc_normal_
from mm2pl.model.init_functions import trunc_normal_init as trunc_normal_init
from mm2pl.model.init_functions import uniform_init as uniform_init
from mm2pl.model.init_functions import xavier_init as xavier_init
from mm2pl.registry import WEIGHT_INITIALIZERS, build_from_cfg


class BaseInit:
    """Base of the initializers; stands for `mmengine.model.BaseInit`.

    A call initialises every module within whose class, or a direct base of it, is named in ``layer``.

    Args:
        bias: Fills the biases.
        bias_prob: Or else: the probability that the sigmoid of the bias gives.
        layer: Class names.

    Raises:
        TypeError: ``bias``, ``bias_prob`` or ``layer`` is of another kind.
    """

    function: ClassVar[Callable[..., None]]
    """Initialises one module."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """The attributes that are its arguments, without ``bias``; in the order of the log."""

    def __init__(
        self,
        *,
        bias: float = 0,
        bias_prob: float | None = None,
        layer: str | list[str] | None = None,
    ) -> None:
        # Set from outside for an `override`, which names a module and no layers; MMEngine's attribute.
        self.wholemodule = False
        if not isinstance(bias, (int, float)):
            raise ArgumentError(f"bias must be a number, but got a {type(bias)}")
        if bias_prob is not None and not isinstance(bias_prob, float):
            raise ArgumentError(f"bias_prob type must be float, but got {type(bias_prob)}")
        if layer is not None and not isinstance(layer, (str, list)):
            raise ArgumentError(f"layer must be a str or a list of str, but got a {type(layer)}")
        self.bias = bias if bias_prob is None else bias_init_with_prob(bias_prob)
        self.layer = [layer] if isinstance(layer, str) else layer or []

    def init_module(self, module: nn.Module) -> None:
        """Initialise one module, which ``layer`` has selected."""
        values = {name: getattr(self, name) for name in self.arguments}
        type(self).function(module, bias=self.bias, **values)

    def __call__(self, module: nn.Module) -> None:
        """Initialise the selected modules within ``module``."""

        def init(m: nn.Module) -> None:
            # By name and one level up only, as in MMEngine: a grandchild of nn.Conv2d is not a "Conv2d".
            names = [type(m).__name__, *(base.__name__ for base in type(m).__bases__)]
            if self.wholemodule or not set(self.layer).isdisjoint(names):
                self.init_module(m)

        module.apply(init)
        # Only during `init_weights`; `initialize` may also be called by itself.
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())

    def _get_init_info(self) -> str:
        values = (f"{name}={getattr(self, name)}" for name in (*self.arguments, "bias"))
        return f"{type(self).__name__}: {', '.join(values)}"


@WEIGHT_INITIALIZERS.register_module(name="Constant")
class ConstantInit(BaseInit):
    """Call :func:`constant_init` as `BaseInit` says."""

    function = staticmethod(constant_init)
    arguments = ("val",)

    def __init__(self, val: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.val = val


@WEIGHT_INITIALIZERS.register_module(name="Xavier")
class XavierInit(BaseInit):
    """Call :func:`xavier_init` as `BaseInit` says."""

    function = staticmethod(xavier_init)
    arguments = ("gain", "distribution")

    def __init__(self, gain: float = 1, distribution: str = "normal", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gain, self.distribution = gain, distribution


@WEIGHT_INITIALIZERS.register_module(name="Normal")
class NormalInit(BaseInit):
    """Call :func:`normal_init` as `BaseInit` says."""

    function = staticmethod(normal_init)
    arguments = ("mean", "std")

    def __init__(self, mean: float = 0, std: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean, self.std = mean, std


@WEIGHT_INITIALIZERS.register_module(name="TruncNormal")
class TruncNormalInit(BaseInit):
    """Call :func:`trunc_normal_init` as `BaseInit` says."""

    function = staticmethod(trunc_normal_init)
    arguments = ("a", "b", "mean", "std")

    def __init__(
        self, mean: float = 0, std: float = 1, a: float = -2, b: float = 2, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mean, self.std, self.a, self.b = mean, std, a, b


@WEIGHT_INITIALIZERS.register_module(name="Uniform")
class UniformInit(BaseInit):
    """Call :func:`uniform_init` as `BaseInit` says."""

    function = staticmethod(uniform_init)
    arguments = ("a", "b")

    def __init__(self, a: float = 0, b: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a, self.b = a, b


@WEIGHT_INITIALIZERS.register_module(name="Kaiming")
class KaimingInit(BaseInit):
    """Call :func:`kaiming_init` as `BaseInit` says."""

    function = staticmethod(kaiming_init)
    arguments = ("a", "mode", "nonlinearity", "distribution")

    def __init__(
        self,
        a: float = 0,
        mode: str = "fan_out",
        nonlinearity: str = "relu",
        distribution: str = "normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.a, self.mode = a, mode
        self.nonlinearity, self.distribution = nonlinearity, distribution

    def _get_init_info(self) -> str:
        # MMEngine 0.10.7 writes this one with a space.
        return super()._get_init_info().replace("distribution=", "distribution =")


@WEIGHT_INITIALIZERS.register_module(name="Caffe2Xavier")
class Caffe2XavierInit(KaimingInit):
    """Call :func:`caffe2_xavier_init` as `BaseInit` says."""

    def __init__(self, **kwargs: Any) -> None:
        # By position: a config that gives one of the four fails, instead of changing the method under its name.
        super().__init__(1, "fan_in", "leaky_relu", "uniform", **kwargs)


@WEIGHT_INITIALIZERS.register_module(name="Pretrained")
class PretrainedInit:
    """Load a checkpoint into the module, ignoring what does not fit; stands for `mmengine.model.PretrainedInit`.

    Args:
        checkpoint: File or URL.
        prefix: Take only entries that begin with it, such as ``"backbone."``, and cut it off.
        map_location: Where the file's tensors are put first.
    """

    def __init__(
        self, checkpoint: str, prefix: str | None = None, map_location: Any = "cpu"
    ) -> None:
        self.checkpoint, self.prefix, self.map_location = checkpoint, prefix, map_location

    def __call__(self, module: nn.Module) -> None:
        """Load what fits into ``module``."""
        if self.prefix is None:
            print_log(f"load model from: {self.checkpoint}", logger="current")
            load_checkpoint(module, self.checkpoint, self.map_location, logger="current")
        else:
            print_log(f"load {self.prefix} in model from: {self.checkpoint}", logger="current")
            weights = _load_checkpoint_with_prefix(self.prefix, self.checkpoint, self.map_location)
            load_state_dict(module, weights, logger="current")
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=self._get_init_info())

    def _get_init_info(self) -> str:
        return f"{type(self).__name__}: load from {self.checkpoint}"


def is_pretrained(cfg: dict[str, Any]) -> bool:
    """Return whether an ``init_cfg`` loads a checkpoint, which is done last.

    >>> is_pretrained(dict(type="Pretrained", checkpoint="a.pth")), is_pretrained(dict(type="Normal"))
    (True, False)
    """
    kind = cfg["type"]
    # By the class's name, so that the real MMEngine's class in a config counts too.
    return kind == "Pretrained" or getattr(kind, "__name__", None) == "PretrainedInit"


def update_init_info(module: nn.Module, init_info: str) -> None:
    """Note ``init_info`` for those parameters whose mean has changed since the last note.

    Raises:
        ArgumentError: ``module`` is not being initialised by `BaseModule.init_weights`, or has got a new parameter
            since that began.
    """
    info = getattr(module, "_params_init_info", None)
    if info is None:
        raise ArgumentError(
            f"Can not find `_params_init_info` in {module}: call init_weights() of a BaseModule"
        )
    for name, param in module.named_parameters():
        if param not in info:
            raise ArgumentError(
                f"Find a new :obj:`Parameter` named `{name}` during executing the `init_weights` of "
                f"`{type(module).__name__}`. Please do not add or replace parameters during executing the "
                f"`init_weights`."
            )
        # A change that keeps the mean, such as 0 to 0, goes unnoticed; so MMEngine decides it.
        mean = param.data.mean().cpu()
        if info[param]["tmp_mean_value"] != mean:
            info[param].update(init_info=init_info, tmp_mean_value=mean)


def initialize(module: nn.Module, init_cfg: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Apply initializers, in order; stands for `mmengine.model.initialize`.

    Args:
        module: Initialised in place.
        init_cfg: ``type`` names the initializer, ``layer`` the classes of the modules. ``override`` (one or several
            dicts) names by ``name`` attributes of ``module`` that are initialised as a whole, with their own ``type``
            or, if there is nothing but the name, with the same initializer.

    Raises:
        TypeError: ``init_cfg`` or ``override`` is neither a dict nor a list.
        ValueError: An override has no name, or arguments without a type.
        RuntimeError: ``module`` has no such attribute.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        >>> override = dict(name="1", type="Constant", val=2)
        >>> initialize(net, dict(type="Constant", layer="Linear", val=1, override=override))
        >>> [layer.weight.item() for layer in net]
        [1.0, 2.0]
    """
    if not isinstance(init_cfg, (dict, list)):
        raise ArgumentError(f"init_cfg must be a dict or a list of dict, but got {type(init_cfg)}")
    for cfg in [init_cfg] if isinstance(init_cfg, dict) else init_cfg:
        # The keys are popped below, and one config may serve many modules.
        cfg = copy.deepcopy(cfg)
        override = cfg.pop("override", None)
        _initialize(module, cfg)
        if override is not None:
            # An override initialises its module as a whole: `layer` of the outer config must not restrict it.
            cfg.pop("layer", None)
            _initialize_override(module, override, cfg)


def _initialize(module: nn.Module, cfg: dict[str, Any], wholemodule: bool = False) -> None:
    func = build_from_cfg(cfg, WEIGHT_INITIALIZERS)
    func.wholemodule = wholemodule
    func(module)


def _initialize_override(module: nn.Module, override: object, cfg: dict[str, Any]) -> None:
    if not isinstance(override, (dict, list)):
        raise ArgumentError(f"override must be a dict or a list of dict, but got {type(override)}")
    for own in [override] if isinstance(override, dict) else override:
        args = copy.deepcopy(own)
        name = args.pop("name", None)
        if name is None:
            raise ArgumentError(f'`override` must contain the key "name", but got {own}')
        if not args:
            # An override of only a name means the outer initializer.
            args.update(cfg)
        elif "type" not in args:
            raise ArgumentError(f'`override` need "type" key, but got {own}')
        if not hasattr(module, name):
            known = [child for child, _ in module.named_children()]
            raise StateError(
                f"module did not have attribute {name}, but init_cfg is {args}: it has {known}."
            )
        _initialize(getattr(module, name), args, wholemodule=True)
