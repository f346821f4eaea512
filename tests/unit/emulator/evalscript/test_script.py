"""Evalscripts in V8: rounding, units, shapes and what setup() may say."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from shdask.emulator.evalscript.loop import Feed
from shdask.emulator.evalscript.script import Script
from shdask.emulator.refusal import Refusal

NAN = float("nan")


def run(source, *planes, divisors=None):
    """What the script's only output makes of these planes of DN, as (band, y, x)."""
    with closing(Script.load(source)) as script:
        arrays = [np.asarray(plane, dtype=np.float32) for plane in planes]
        names = tuple(band.name for band in script.setup.inputs[0].bands)
        script.begin([Feed(bands=names, divisors=divisors or (1.0,) * len(arrays))], script.setup.outputs, {})
        return script.run(arrays, arrays[0].shape)[0]


def passing(sample_type):
    """A script that returns its one band unchanged."""
    return (
        f"function setup() {{ return {{input: ['A'], output: {{bands: 1, sampleType: '{sample_type}'}}}}; }}"
        "function evaluatePixel(s) { return [s.A]; }"
    )


@pytest.mark.parametrize(
    ("sample_type", "values", "expected"),
    [
        ("AUTO", [0.25, 0.5, -1, 2, 1], [64, 128, 0, 255, 255]),
        ("UINT8", [0.5, 40.6, 310, -1, 1.49], [1, 41, 255, 0, 1]),
        ("UINT16", [275.3, 65535.4, 70000, -1, 2.5], [275, 65535, 65535, 0, 3]),
        ("INT8", [-128.7, -0.5, 127.5, 3.2, -2.5], [-128, 0, 127, 3, -2]),
        ("INT16", [-40000, -1.5, 32767.9, 0, 1.5], [-32768, -1, 32767, 0, 2]),
        ("FLOAT32", [0.25, -1, 1e9, 0, 0.5], [0.25, -1, 1e9, 0, 0.5]),
    ],
)
def test_values_are_rounded_and_clamped_as_documented(sample_type, values, expected):
    """Integers are rounded half up and clamped; AUTO is stretched from [0, 1]; floats pass."""
    np.testing.assert_array_equal(run(passing(sample_type), [values])[0, 0], expected)


def test_float_keeps_infinity_and_nan():
    """FLOAT32 carries what the arithmetic of the script yields."""
    source = passing("FLOAT32").replace("[s.A]", "[1 / s.A]")
    np.testing.assert_array_equal(run(source, [[0.0, NAN, 2.0]])[0, 0], [np.inf, np.nan, 0.5])


def test_nan_becomes_zero_in_integers():
    """An integer image has no NaN; 0 stands for it."""
    assert run(passing("UINT16"), [[NAN]])[0, 0, 0] == 0


def test_sample_is_dn_over_the_divisor():
    """Reflectance is the exact quotient, so that multiplying back gives the DN."""
    dn = np.arange(10000).reshape(100, 100)
    source = passing("UINT16").replace("[s.A]", "[s.A * 10000]")
    np.testing.assert_array_equal(run(source, dn, divisors=(10000.0,))[0], dn)


def test_many_chunks_keep_their_order():
    """An image longer than one run of the loop comes back whole."""
    dn = np.arange(600 * 500).reshape(600, 500) % 65536
    np.testing.assert_array_equal(run(passing("UINT16"), dn)[0], dn)


def test_object_with_output_ids_is_understood():
    """A script may return an object of arrays, and V8 constants name sample types."""
    source = (
        "function setup() { return {input: [{bands: ['A', 'B'], units: ['DN', 'dn']}],"
        " output: [{id: 'sum', bands: 1, sampleType: SampleType.UINT8}], mosaicking: Mosaicking.SIMPLE}; }"
        "function evaluatePixel(s) { return {sum: [s.A + s.B]}; }"
    )
    np.testing.assert_array_equal(run(source, [[1, 2]], [[3, 4]]), [[[4, 6]]])


def test_state_of_one_script_is_not_seen_by_another():
    """Every script has a world of its own."""
    with closing(Script.load("var leaked = 1;" + passing("UINT8"))):
        source = passing("UINT8").replace("[s.A]", "[typeof leaked === 'undefined' ? 1 : 0]")
        assert run(source, [[9]])[0, 0, 0] == 1


@pytest.mark.parametrize(
    "setup",
    [
        "7",
        "{}",
        "{input: [], output: {bands: 1}}",
        "{input: ['A'], output: {bands: 0}}",
        "{input: ['A'], output: {bands: 1, sampleType: 'UINT32'}}",
        "{input: ['A'], output: [{bands: 1}, {bands: 2}]}",
        "{input: [{bands: ['A'], units: ['DN', 'DN']}], output: {bands: 1}}",
        "{input: ['A'], output: {bands: 1}, mosaicking: 'DAILY'}",
        "{input: [{bands: ['A'], mosaicking: 7}], output: {bands: 1}}",
        "{input: [{bands: ['A'], metadata: ['weather']}], output: {bands: 1}}",
        "{input: 'A', output: {bands: 1}}",
        "{input: ['A'], output: []}",
        "{input: ['A'], output: {bands: true}}",
        "{input: ['A'], output: {bands: 1.5}}",
        "{input: ['A'], output: {bands: 1e9}}",
        "{input: ['A'], output: {bands: ['A']}}",
        "{input: ['A'], output: {bands: 1, id: 7}}",
        "{input: ['A'], output: {bands: 1, nodataValue: 'none'}}",
        "{input: [{bands: ['A'], units: 7}], output: {bands: 1}}",
        "{input: [{bands: ['A'], units: [7]}], output: {bands: 1}}",
        "{input: [{bands: ['A'], datasource: {}}], output: {bands: 1}}",
        "Promise.resolve({input: ['A'], output: {bands: 1}})",
        "10n",
        "(function loop() { return loop(); })()",
        "new Proxy({}, {get() { throw new Error('mine'); }})",
        "{get input() { throw 'mine'; }, output: {bands: 1}}",
        "{input: [{bands: ['A']}, 'B'], output: {bands: 1}}",
    ],
)
def test_setup_that_says_nonsense_is_refused(setup):
    """What setup() may not say is a 400, not a crash."""
    with pytest.raises(Refusal) as refusal:
        Script.load(f"function setup() {{ return {setup}; }} function evaluatePixel(s) {{ return [1]; }}")
    assert refusal.value.status == 400


RETURNED = ["NaN", "Infinity", "-Infinity", "null", "undefined", "'7'", "'no'", "true", "[]", "1e300", "-0.5", "2.5"]


@pytest.mark.parametrize(
    ("sample_type", "expected"),
    [
        ("UINT8", [0, 255, 0, 0, 0, 7, 0, 1, 0, 255, 0, 3]),
        ("INT16", [0, 32767, -32768, 0, 0, 7, 0, 1, 0, 32767, 0, 3]),
        ("AUTO", [0, 255, 0, 0, 0, 255, 0, 255, 0, 255, 0, 255]),
        ("FLOAT32", [NAN, np.inf, -np.inf, 0, NAN, 7, NAN, 1, 0, np.inf, -0.5, 2.5]),
    ],
)
def test_whatever_is_returned_becomes_a_number(sample_type, expected):
    """Values are numbers as JavaScript makes them; integers clamp infinity and show NaN as 0."""
    bands = f"{{bands: {len(RETURNED)}, sampleType: '{sample_type}'}}"
    source = (
        f"function setup() {{ return {{input: ['A'], output: {bands}}}; }}"
        f"function evaluatePixel() {{ return [{', '.join(RETURNED)}]; }}"
    )
    np.testing.assert_array_equal(run(source, [[1.0]])[:, 0, 0], np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("sample_type", ["INT8", "UINT8", "INT16", "UINT16"])
def test_rounding_is_half_up_everywhere(sample_type):
    """Over the whole range and beyond, integers are floor(v + 0.5), clamped, as numpy has it."""
    values = np.concatenate([np.arange(-70000, 70000) / 2, np.linspace(-200, 300, 4001)]).astype(np.float32)
    info = np.iinfo(sample_type.lower())
    expected = np.clip(np.floor(values.astype(np.float64) + 0.5), info.min, info.max)
    np.testing.assert_array_equal(run(passing(sample_type), [values])[0, 0], expected)


@pytest.mark.parametrize(
    ("declared", "units"),
    [
        ("['A', 'B']", [None, None]),
        ("{bands: ['A', 'B']}", [None, None]),
        ("[{bands: ['A', 'B'], units: 'dn'}]", ["DN", "DN"]),
        ("[{bands: ['A', 'B'], units: ['reflectance', 'DN']}]", ["REFLECTANCE", "DN"]),
    ],
)
def test_input_has_every_documented_form(declared, units):
    """Names, an object, or objects with one unit or one per band."""
    source = f"function setup() {{ return {{input: {declared}, output: {{bands: 1}}}}; }} function evaluatePixel() {{}}"
    with closing(Script.load(source)) as script:
        (read,) = script.setup.inputs
    assert [(band.name, band.unit) for band in read.bands] == list(zip(["A", "B"], units, strict=True))


@pytest.mark.parametrize("constant", ["'ORBIT'", "Mosaicking.ORBIT"])
def test_output_and_mosaicking_have_every_documented_form(constant):
    """Outputs are an object or an array of them, with a default id; constants are as good as their names."""
    outputs = "[{bands: 2}, {id: 'mask', bands: 1, sampleType: SampleType.INT8, nodataValue: -1}]"
    source = f"function setup() {{ return {{input: ['A'], output: {outputs}, mosaicking: {constant}}}; }}"
    with closing(Script.load(source + "function evaluatePixel() {}")) as script:
        first, second = script.setup.outputs
        assert script.setup.inputs[0].mosaicking == "ORBIT"
    assert (first.id, first.bands, first.sample_type, first.nodata) == ("default", 2, "AUTO", None)
    assert (second.id, second.bands, second.sample_type, second.nodata) == ("mask", 1, "INT8", -1.0)


def test_input_may_have_a_mosaicking_of_its_own():
    """What one input says goes before what setup() says for all."""
    inputs = "[{bands: ['A'], mosaicking: 'TILE'}, {bands: ['B'], metadata: ['bounds']}]"
    source = f"function setup() {{ return {{input: {inputs}, output: {{bands: 1}}, mosaicking: 'ORBIT'}}; }}"
    with closing(Script.load(source + "function evaluatePixel() {}")) as script:
        assert [(item.mosaicking, item.bounds) for item in script.setup.inputs] == [("TILE", False), ("ORBIT", True)]


@pytest.mark.parametrize("count", [1, 10, 40])
def test_short_and_long_stacks_are_read_alike(count):
    """Samples that are spelt out and those of a loop are the same: sample k of band A holds k."""
    source = (
        "function setup() { return {input: ['A'], output: {bands: 3, sampleType: 'INT8'}, mosaicking: 'TILE'}; }"
        "function evaluatePixel(s) { return [s[0].A, s[s.length - 1].A, s.length]; }"
    )
    with closing(Script.load(source)) as script:
        feed = Feed(bands=("A",), divisors=(1.0,), samples=count)
        script.begin([feed], script.setup.outputs, {"tiles": []})
        planes = [np.full((2, 3), k, dtype=np.float32) for k in range(count)]
        image = script.run(planes, (2, 3))[0]
    np.testing.assert_array_equal(image[:, 1, 2], [0, count - 1, count])


def test_script_cannot_reach_the_buffers():
    """The memory that numpy shares has no name a script could use."""
    source = passing("UINT8").replace("[s.A]", "[typeof __in === 'undefined' && typeof __out0 === 'undefined' ? 1 : 0]")
    assert run(source, [[9]])[0, 0, 0] == 1
