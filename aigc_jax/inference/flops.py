"""Number of multiplications and additions of a program, counted in its matrix products and convolutions.

The compiler's own cost analysis counts the body of a loop once, so that it is wrong for a network whose blocks are
scanned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
import numpy as np

ATTENTION_OPERANDS = {"dot_product_attention_fwd_wrapper": 1, "dot_product_attention_bwd_wrapper": 2}
"""cuDNN's fused attention by the name of its primitive: gradients take twice the products of the value."""


def count_flops(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Floating-point operations of all matrix products and convolutions of a function; nothing is computed.

    A product and its addition are two. Bodies of ``scan`` count as often as they run; of a ``while`` loop, whose number
    of turns is not known, once; of a ``cond``, the most expensive branch. What ``jax.checkpoint`` recomputes is part of
    the program: for the utilisation of a model (MFU) count it without rematerialisation. Positions of a convolution
    that lie in its padding, or between the values of a dilated input, are no work.

    Args:
        fn: the function, for example a training step with its gradients.
        args: its arguments, arrays or ``jax.ShapeDtypeStruct``.
        kwargs: likewise.

    Returns:
        The number for the whole program, over all devices.

    >>> square = jax.ShapeDtypeStruct((3, 3), "float32")
    >>> count_flops(lambda x: x @ x, square)
    54
    >>> count_flops(lambda x: jax.lax.fori_loop(0, 10, lambda i, y: y @ x, x), square)
    540
    """
    return _of_jaxpr(jax.make_jaxpr(fn)(*args, **kwargs).jaxpr)


def compiler_flops(fn: Callable[..., Any], *args: Any) -> float:
    """The compiler's own count, of all operations before they are optimised; the body of a loop counts once."""
    return (jax.jit(fn).lower(*args).cost_analysis() or {}).get("flops", math.nan)


def _of_jaxpr(jaxpr: Any) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    if name in ATTENTION_OPERANDS:
        query, key = (variable.aval for variable in equation.invars[:2])
        # Layout 0 is [batch, length, heads, width], 1 has heads before length; two products, q k^T and its sum over v.
        return 4 * query.size * key.shape[2 if params["layout"] else 1] * ATTENTION_OPERANDS[name]
    inner = [_of_jaxpr(jaxpr) for jaxpr in jax.extend.core.jaxprs_in_params(params)]
    if name == "cond":
        return max(inner)
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "shard_map":  # its body is the work of one device
        return math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"]) * sum(inner)
    return sum(inner)


def _of_convolution(equation: Any) -> int:
    params = equation.params
    (inputs, kernel), numbers = (variable.aval.shape for variable in equation.invars), params["dimension_numbers"]
    windows = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    output, num_positions = equation.outvars[0].aval.shape, 1
    for number, (of_input, of_kernel, of_output) in enumerate(windows):
        starts = np.arange(output[of_output]) * params["window_strides"][number] - params["padding"][number][0]
        place = starts[:, None] + np.arange(kernel[of_kernel]) * params["rhs_dilation"][number]
        dilation = params["lhs_dilation"][number]
        is_value = (place >= 0) & (place % dilation == 0) & (place <= (inputs[of_input] - 1) * dilation)
        num_positions *= int(is_value.sum())
    num_outputs, num_inputs = kernel[numbers.rhs_spec[0]], kernel[numbers.rhs_spec[1]]
    return 2 * (inputs[numbers.lhs_spec[0]] // params["batch_group_count"]) * num_positions * num_inputs * num_outputs
