"""ONNX's own test cases of its convolutions and pools, which ship in its wheel, through jconv."""

import warnings
from pathlib import Path

import numpy as np
import pytest

import jconv

pytestmark = pytest.mark.slow

REASON = "pip install -r tests/peers/requirements.txt"
onnx = pytest.importorskip("onnx", reason=REASON)
loader = pytest.importorskip("onnx.backend.test.loader", reason=REASON)

LAYOUTS = {1: "NCW", 2: "NCHW", 3: "NCDHW"}


def _convolution(attributes, x, kernel, bias=None, *, algorithm):
    y = jconv.conv(
        x,
        kernel,
        padding=_padding(attributes),
        groups=attributes.get("group", 1),
        algorithm=algorithm,
        **_strides(attributes, x),
    )
    return [_biased(y, bias)]


def _of_integers(attributes, x, kernel, x_zero=0, kernel_zero=0, *, algorithm):
    # The zero point of a kernel may be one for every output channel.
    kernel_zero = np.asarray(kernel_zero, np.int32).reshape(-1, *[1] * (kernel.ndim - 1))
    x, kernel = x.astype(np.int32) - np.int32(x_zero), kernel.astype(np.int32) - kernel_zero
    return _convolution(attributes, x, kernel, algorithm=algorithm)


def _transposed(attributes, x, kernel, bias=None, *, algorithm):
    options = _strides(attributes, x)
    groups = attributes.get("group", 1)
    extra = attributes.get("output_padding", [0] * (x.ndim - 2))
    name, size = attributes.get("auto_pad", "NOTSET"), attributes.get("output_shape")
    padding = _padding(attributes)
    if name.startswith("SAME") or size:
        size = size or [n * s for n, s in zip(x.shape[2:], options["stride"], strict=True)]
        geometry = zip(x.shape[2:], kernel.shape[2:], options["stride"], options["dilation"],
                       extra, size[-(x.ndim - 2) :], strict=True)  # fmt: skip
        # What ONNX prescribes: the padding that leaves this size, the odd one where it says.
        total = [(n - 1) * s + e + (k - 1) * d + 1 - m for n, k, s, d, e, m in geometry]
        halves = [max(0, t) // 2 for t in total]
        padding = [(half, max(0, t) - half) for half, t in zip(halves, total, strict=True)]
        if name != "SAME_UPPER":
            padding = [pair[::-1] for pair in padding]
        extra = [e + max(0, -t) for e, t in zip(extra, total, strict=True)]
    y = jconv.conv_transpose(
        x, kernel, padding=padding, output_padding=tuple(extra), groups=groups,
        algorithm=algorithm, **options,
    )  # fmt: skip
    return [_biased(y, bias)]


def _deformed(attributes, x, kernel, offset, bias=None, mask=None, *, algorithm):
    taps, groups = kernel.shape[2:], attributes.get("offset_group", 1)

    def channels_last(values, *last):
        """(n, groups * taps * last, *output) -> (n, *output, groups, *taps, *last)"""
        values = np.moveaxis(values, 1, -1)
        return values.reshape(*values.shape[:-1], groups, *taps, *last)

    y = jconv.deform_conv(
        x,
        kernel,
        channels_last(offset, len(taps)),
        None if mask is None else channels_last(mask),
        padding=_padding(attributes),
        groups=attributes.get("group", 1),
        offset_groups=groups,
        **_strides(attributes, x),
    )
    return [_biased(y, bias)]


def _pool(name, *names):
    """A pool of jconv, and those of ONNX's attributes that it takes besides the window's."""

    def pool(attributes, x, *, algorithm):
        options = {key: attributes[key] for key in names if key in attributes}
        if name == "avg_pool":
            options["count_include_pad"] = bool(options.get("count_include_pad", 0))
        y = getattr(jconv, name)(
            x,
            tuple(attributes["kernel_shape"]),
            padding=_padding(attributes),
            ceil_mode=bool(attributes.get("ceil_mode", 0)),
            **_strides(attributes, x),
            **options,
        )
        return [y]

    return pool


def _global(pool):
    return lambda attributes, x, **options: pool(
        {**attributes, "kernel_shape": x.shape[2:]}, x, **options
    )[:1]


def _maximum(attributes, x, *, algorithm):
    attributes = {**attributes, "return_indices": True}
    y, places = _pool("max_pool", "return_indices")(attributes, x, algorithm=algorithm)[0]
    planes, space = x.shape[:2], x.shape[2:]
    # ONNX counts through the whole batch, and columns first if told to.
    spatial = np.unravel_index(np.asarray(places), space)
    order = "F" if attributes.get("storage_order") else "C"
    places = np.ravel_multi_index(spatial, space, order=order)
    first = np.arange(np.prod(planes)).reshape(*planes, *[1] * len(space)) * np.prod(space)
    return [y, places + first]


def _folded(attributes, columns, image_shape, block_shape, *, algorithm):
    image, block = tuple(map(int, image_shape)), tuple(map(int, block_shape))
    options = _strides(attributes, np.empty((1, 1, *image)))
    options["padding"] = _padding(attributes)
    layout = dict(options, layout=None)
    output = jconv.output_shape((1, *image, 1), (*block, 1, 1), **layout)[1:-1]
    patches = columns.reshape(columns.shape[0], -1, *block, *output)
    return [jconv.fold(patches, image, block, **options)]


AVERAGE = _pool("avg_pool", "count_include_pad")
OPS = {
    "Col2Im": _folded,
    "Conv": _convolution,
    "ConvInteger": _of_integers,
    "ConvTranspose": _transposed,
    "DeformConv": _deformed,
    "AveragePool": AVERAGE,
    "MaxPool": _maximum,
    "LpPool": _pool("lp_pool", "p"),
    "GlobalAveragePool": _global(AVERAGE),
    "GlobalMaxPool": _global(_maximum),
}


def _strides(attributes, x):
    ones = (1,) * (x.ndim - 2)
    return dict(
        stride=tuple(attributes.get("strides", ones)),
        dilation=tuple(attributes.get("dilations", ones)),
        layout=LAYOUTS[x.ndim - 2],
    )


def _padding(attributes):
    name, pads = attributes.get("auto_pad", "NOTSET"), attributes.get("pads")
    if name == "NOTSET" and pads:
        before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
        return list(zip(before, after, strict=True))
    return {"NOTSET": 0, "VALID": "VALID", "SAME_UPPER": "SAME", "SAME_LOWER": "SAME_LOWER"}[name]


def _biased(y, bias):
    return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))


def _cases():
    for kind in ("node", "pytorch-converted", "pytorch-operator"):
        for case in loader.load_model_tests(kind=kind):
            model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
            kinds = {node.op_type for node in model.graph.node}
            if kinds & set(OPS) and kinds <= {*OPS, "Constant"}:
                yield pytest.param(case, model, id=f"{kind}-{case.name}")


with warnings.catch_warnings(action="ignore"):  # ONNX makes its cases' data now
    CASES = list(_cases())


def test_there_are_cases():
    assert len(CASES) > 70


@pytest.mark.parametrize("case, model", CASES)
def test_output(case, model, algorithm):
    for inputs, outputs in case.data_sets or _stored(Path(case.model_dir)):
        for y, expected in zip(_run(model, inputs, algorithm), outputs, strict=True):
            assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(y, expected, rtol=case.rtol, atol=max(case.atol, 1e-6))


def _run(model, inputs, algorithm):
    graph = model.graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    free = [one.name for one in graph.input if one.name not in values]
    values.update(zip(free, inputs, strict=True))
    for node in graph.node:
        attributes = {one.name: _value(one) for one in node.attribute}
        if node.op_type == "Constant":
            results = [onnx.numpy_helper.to_array(attributes["value"])]
        else:
            arguments = [values[name] if name else None for name in node.input]
            results = OPS[node.op_type](attributes, *arguments, algorithm=algorithm)
        values.update(zip(node.output, results, strict=False))
    return [values[one.name] for one in graph.output]


def _value(attribute):
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _stored(folder):
    for data in sorted(folder.glob("test_data_set_*")):
        yield [[_array(path) for path in sorted(data.glob(f"{kind}_*.pb"), key=_number)]
               for kind in ("input", "output")]  # fmt: skip


def _number(path):
    return int(path.stem.split("_")[-1])


def _array(path):
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
