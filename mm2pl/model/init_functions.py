"""Initial values of one module's ``weight`` and ``bias``, where it has them.

The values are MMEngine's for the same seed: the same random numbers are drawn in the same order.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn, no_grad

from mm2pl.errors import ArgumentError


def _fill(module: nn.Module, bias: float, draw: Callable[..., Any], *args: Any, **kw: Any) -> None:
    # Norm layers without affine parameters have both attributes, and they are None.
    if getattr(module, "weight", None) is not None:
        draw(module.weight, *args, **kw)
    if getattr(module, "bias", None) is not None:
        nn.init.constant_(module.bias, bias)  # type: ignore[arg-type]


def _check_distribution(distribution: str) -> None:
    if distribution not in ("uniform", "normal"):
        raise ArgumentError(f"distribution={distribution!r}: 'uniform' or 'normal' is accepted")


def constant_init(module: nn.Module, val: float, bias: float = 0) -> None:
    """Fill the weight with ``val``.

    Args:
        module: Changed in place. A weight or bias that it lacks, or that is None, is passed over.
        val: The weight's value.
        bias: The bias's value.
    """
    _fill(module, bias, nn.init.constant_, val)


def xavier_init(
    module: nn.Module, gain: float = 1, bias: float = 0, distribution: str = "normal"
) -> None:
    """Draw the weight as Glorot and Bengio do: variance ``gain² · 2 / (fan_in + fan_out)``.

    Args:
        module: See :func:`constant_init`.
        gain: Factor of the standard deviation.
        bias: See :func:`constant_init`.
        distribution: ``"normal"`` or ``"uniform"``, with that variance.

    Raises:
        ArgumentError: Another ``distribution``.
    """
    _check_distribution(distribution)
    draw = nn.init.xavier_uniform_ if distribution == "uniform" else nn.init.xavier_normal_
    _fill(module, bias, draw, gain=gain)


def normal_init(module: nn.Module, mean: float = 0, std: float = 1, bias: float = 0) -> None:
    """Draw the weight from a normal distribution with ``mean`` and standard deviation ``std``.

    ``module`` and ``bias``: see :func:`constant_init`.
    """
    _fill(module, bias, nn.init.normal_, mean, std)


def trunc_normal_init(
    module: nn.Module,
    mean: float = 0,
    std: float = 1,
    a: float = -2,
    b: float = 2,
    bias: float = 0,
) -> None:
    """Draw the weight from a normal distribution cut off outside ``[a, b]``, by :func:`trunc_normal_`.

    Args:
        module: See :func:`constant_init`.
        mean: Of the distribution before the cut.
        std: Of the distribution before the cut.
        a: Smallest value; a value, not a number of standard deviations.
        b: Greatest value.
        bias: See :func:`constant_init`.
    """
    _fill(module, bias, trunc_normal_, mean, std, a, b)


def uniform_init(module: nn.Module, a: float = 0, b: float = 1, bias: float = 0) -> None:
    """Draw the weight evenly from ``a`` (included) to ``b`` (excluded).

    ``module`` and ``bias``: see :func:`constant_init`.
    """
    _fill(module, bias, nn.init.uniform_, a, b)


# The defaults are MMEngine's; torch's own are "fan_in" and "leaky_relu".
def kaiming_init(
    module: nn.Module,
    a: float = 0,
    mode: str = "fan_out",
    nonlinearity: str = "relu",
    bias: float = 0,
    distribution: str = "normal",
) -> None:
    """Draw the weight as He et al. do: variance ``gain² / fan``.

    Args:
        module: The module.
        a: Negative slope of the rectifier behind it, for ``leaky_relu``.
        mode: ``"fan_in"`` keeps the variance forwards, ``"fan_out"`` backwards.
        nonlinearity: Gives the gain; a name of `torch.nn.init.calculate_gain`.
        bias: Fills the bias.
        distribution: ``"normal"`` or ``"uniform"``.
    """
    _check_distribution(distribution)
    draw = nn.init.kaiming_uniform_ if distribution == "uniform" else nn.init.kaiming_normal_
    _fill(module, bias, draw, a=a, mode=mode, nonlinearity=nonlinearity)


def caffe2_xavier_init(module: nn.Module, bias: float = 0) -> None:
    """Draw the weight as Caffe2's ``XavierFill``, which is torch's ``kaiming_uniform_`` with ``a=1``.

    ``module`` and ``bias``: see :func:`constant_init`.
    """
    # With a=1 the gain of leaky_relu is 1: the bound is sqrt(3 / fan_in).
    kaiming_init(module, 1, "fan_in", "leaky_relu", bias, "uniform")


def bias_init_with_prob(prior_prob: float) -> float:
    """Return the bias at which a sigmoid gives ``prior_prob``.

    >>> bias_init_with_prob(0.01)
    -4.59511985013459
    """
    return float(-np.log((1 - prior_prob) / prior_prob))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Fill ``tensor`` from a normal distribution cut off outside ``[a, b]``, by the inverse of its CDF.

    Newer torch versions draw differently in `torch.nn.init.trunc_normal_`; this keeps MMEngine's values.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            f"mean={mean} is more than 2 std={std} outside of [{a}, {b}]: the distribution of the values may be wrong",
            stacklevel=2,
        )

    def to_uniform(bound: float) -> float:
        # 2·Φ(z) − 1, in the order of operations that gives MMEngine's last bit
        return 2 * ((1.0 + math.erf((bound - mean) / std / math.sqrt(2.0))) / 2.0) - 1

    # MMEngine's sequence of in-place operations, one rounding each; `clamp_` takes back what rounding puts outside.
    with no_grad():
        tensor.uniform_(to_uniform(a), to_uniform(b)).erfinv_()
        return tensor.mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=a, max=b)
