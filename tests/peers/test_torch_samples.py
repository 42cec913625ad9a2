"""PyTorch's own sample inputs of its convolutions (`OpInfo`, in its wheel), through jconv."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths"),
]

REASON = "pip install -r tests/peers/requirements.txt"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("expecttest", reason=REASON)
methods = pytest.importorskip("torch.testing._internal.common_methods_invocations", reason=REASON)

NAMES = [f"conv{transpose}{rank}d" for transpose in ("", "_transpose") for rank in (1, 2, 3)]
OPS = {op.name.split(".")[-1]: op for op in methods.op_db if op.name.split(".")[-1] in NAMES}
DTYPES = ("float32", "float64", "complex64", "bfloat16")
# PyTorch's errors that are none here: the bias is the caller's, negative padding crops, and SAME
# may have a stride.
ALLOWED = ("should be the same", "negative padding", "strided convolutions")
LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def test_every_op_has_samples():
    assert sorted(OPS) == sorted(NAMES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_output_and_gradients(name, dtype, algorithm):
    op, tried = OPS[name], 0
    torch.manual_seed(0)
    for sample in op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=True):
        x, (weight, bias), options = sample.input, sample.args, sample.kwargs
        try:
            expected = op(x, weight, bias, **options)
        except RuntimeError:
            continue
        tried += 1
        y_bar = torch.randn_like(expected)
        bars = torch.autograd.grad(expected, (x, weight), y_bar)
        about = f"{tuple(x.shape)} {tuple(weight.shape)} {options}"
        with jax.enable_x64(dtype == "float64"):
            run = functools.partial(_both_ways, name, options, algorithm)
            arrays = [_to_jax(tensor) for tensor in (x, weight, bias, y_bar)]
            for got, wanted in zip(jax.jit(run)(*arrays), (expected, *bars), strict=True):
                _assert_close(got, _to_jax(wanted), about)
    assert tried


@pytest.mark.parametrize("name", [name for name in NAMES if OPS[name].error_inputs_func])
def test_errors(name, algorithm):
    for case in OPS[name].error_inputs("cpu"):
        x, weight = case.sample_input.input, case.sample_input.args[0]
        if any(cause in case.error_regex for cause in ALLOWED):
            continue
        with jax.enable_x64(True), pytest.raises(ValueError):
            y = _by_jconv(
                name, _to_jax(x), _to_jax(weight), None, case.sample_input.kwargs, algorithm
            )
            pytest.fail(f"{case.error_regex}: {x.shape} {weight.shape} "
                        f"{case.sample_input.kwargs} gave {y.shape}")  # fmt: skip


def _both_ways(name, options, algorithm, x, weight, bias, y_bar):
    """The output, and the gradients in input and weight."""
    f = lambda x, weight: _by_jconv(name, x, weight, bias, options, algorithm)
    y, pull = jax.vjp(f, x, weight)
    # PyTorch transposes and conjugates where JAX transposes.
    return y, *map(jnp.conj, pull(jnp.conj(y_bar)))


def _by_jconv(name, x, weight, bias, options, algorithm):
    """The operator of PyTorch's name."""
    rank = int(name[-2])
    options = dict(options)
    padding = options.pop("padding", 0)
    options["padding"] = padding.upper() if isinstance(padding, str) else _pairs(padding)
    for option, value in options.items():
        # A tuple of one stands for all axes.
        if option != "padding" and isinstance(value, tuple) and len(value) == 1:
            options[option] = value[0]
    function = getattr(jconv, name[:-2])
    batched = x.ndim == rank + 2
    x = x if batched else x[None]
    y = function(x, weight, layout=LAYOUTS[rank], algorithm=algorithm, **options)
    y = y if bias is None else y + bias.reshape(-1, *[1] * rank)
    return y if batched else y[0]


def _pairs(padding):
    if isinstance(padding, tuple):
        return padding[0] if len(padding) == 1 else [(side, side) for side in padding]
    return padding


def _to_jax(tensor):
    if tensor is None:
        return None
    tensor = tensor.detach().resolve_conj()
    if tensor.dtype == torch.bfloat16:
        return jnp.asarray(tensor.float().numpy(), jnp.bfloat16)
    return jnp.asarray(tensor.numpy())


def _assert_close(y, expected, about):
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype), about
    eps = float(jnp.finfo(y.dtype).eps)
    wide = np.complex128 if jnp.iscomplexobj(y) else np.float64
    y, expected = np.asarray(y).astype(wide), np.asarray(expected).astype(wide)
    # Sums of up to a few hundred products: rounding is in proportion to the largest of them.
    atol = 16 * eps * np.max(np.abs(expected), initial=1)
    np.testing.assert_allclose(y, expected, rtol=0, atol=atol, err_msg=about)
