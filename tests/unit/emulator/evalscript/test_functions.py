"""The functions evalscripts find ready, by the examples of their documentation."""

from __future__ import annotations

import json

import pytest
from py_mini_racer import MiniRacer

from shdask.emulator.evalscript.functions import PRELUDE

INTERVALS = "[1, 3, 5, 7, 10], [100, 300, 500, 700, 900]"
STEPS = "[-10, -5, 0, 5, 10], [-1000, -50, 0, 50, 1000]"
VECTORS = "[0, 0.2, 0.4, 0.6, 0.8, 1], [[0,0,0],[0.1,0.2,0.5],[0.25,0.4,0.5],[0.4,0.6,0.5],[0.75,0.8,0.5],[1,1,0.5]]"
MAP = "new ColorMapVisualizer([[200, 0xff0000], [300, 0x0000ff]])"
RAMP = "new ColorRampVisualizer([[200, 0xff0000], [300, 0x0000ff]])"
ARRAY_RAMP = "new ColorRampVisualizer([[200, [1, 0, 0]], [300, [0, 0, 1]]])"
LIGHTS = "new HighlightCompressVisualizer(0.1, 0.4)"


@pytest.fixture(scope="module")
def evaluate():
    """What an expression yields after the prelude."""
    context = MiniRacer()
    context.eval(PRELUDE)
    yield lambda source: json.loads(context.eval(f"JSON.stringify({source})"))
    context.close()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("index(0.6, 0.4)", 0.2),
        ("index(0.5, -0.5)", 0),
        ("inverse(2)", 0.5),
        ("inverse(0)", 1.7976931348623157e308),
        ("JAVA_DOUBLE_MAX_VAL", 1.7976931348623157e308),
        ("int2rgb(255)", [0, 0, 255]),
        ("int2rgb(65537)", [1, 0, 1]),
        ("rgb2int([0, 1, 0])", 256),
        ("rgb2int([1, 0, 1])", 65537),
        ("normalizeRGB([255, 51, 0])", [1, 0.2, 0]),
        ("combine([100, 0, 0], [0, 100, 0], 1)", [100, 0, 0]),
        ("combine([100, 0, 0], [0, 100, 0], 0.5)", [50, 50, 0]),
        (f"valueMap(5, {INTERVALS})", 500),
        (f"valueMap(1, {INTERVALS})", 100),
        (f"valueMap(2, {INTERVALS})", 300),
        (f"valueMap(12, {INTERVALS})", 900),
        ("valueMap(50)", 50),
        (f"valueInterpolate(0, {STEPS})", 0),
        (f"valueInterpolate(-10, {STEPS})", -1000),
        (f"valueInterpolate(9, {STEPS})", 810),
        (f"valueInterpolate(11, {STEPS})", 1000),
        ("valueInterpolate(50)", 50),
        (f"valueInterpolate(0.1, {VECTORS})", [0.05, 0.1, 0.25]),
        (f"colorBlend(9, {STEPS})", 810),
        (f"{MAP}.process(199)", [1, 0, 0]),
        (f"{MAP}.process(299)", [1, 0, 0]),
        (f"{MAP}.process(300)", [0, 0, 1]),
        ("ColorMapVisualizer.createDefaultColorMap().process(0.15)", [1, 1, 0.2]),
        (f"{RAMP}.process(199)", [1, 0, 0]),
        (f"{RAMP}.process(250)", [127 / 255, 0, 127 / 255]),
        (f"{RAMP}.process(299)", [2 / 255, 0, 252 / 255]),
        (f"{RAMP}.process(300)", [0, 0, 1]),
        (f"{ARRAY_RAMP}.process(299)", [2 / 255, 0, 252 / 255]),
        (f"{RAMP}.inverse().process(200)", [0, 0, 1]),
        (f"{RAMP}.inverse().process(300)", [1, 0, 0]),
        ("new ColorRampVisualizer([[0, 0xff0000], [1, 0x0000ff]], 200, 300).process(250)", [127 / 255, 0, 127 / 255]),
        (f"{LIGHTS}.process(0)", 0),
        (f"{LIGHTS}.process(0.25)", 0.5),
        (f"{LIGHTS}.process(0.376)", 0.92),
        (f"{LIGHTS}.process(0.4)", 0.9259259),
        (f"{LIGHTS}.process(0.7)", 1),
        (f"{LIGHTS}.process(1.1)", 1),
        ("new HighlightCompressVisualizer(0, 2, 1, 0, 2).process(1)", 0.25),
        ("oceanColor[4][1]", [0, 10 / 255, 1]),
        ("new DefaultVisualizer(0, 0.5).processList([0, 0.25, 2])", [0, 0.5, 1]),
        ("new Identity().process(7)", 7),
        (f"{LIGHTS}.processList([0.25, 1.1])", [0.5, 1]),
        ("Object.keys(decodeS3OLCIQualityFlags(0)).length", 32),
        ("decodeS3OLCIQualityFlags(2 ** 29).fresh_inland_water + decodeS3OLCIQualityFlags(2 ** 25).invalid", 2),
        ("decodeS3OLCIQualityFlags(2 ** 22).sun_glint_risk + decodeS3OLCIQualityFlags(2 ** 20).saturatedB01", 2),
        ("decodeS3OLCIQualityFlags(-1).bright", 1),
        ("[decodeL8C2Qa(55052).cirrus, decodeL8C2Qa(55052).cirrusConfidence, decodeL8C2Qa(55052).clear]", [1, 3, 0]),
    ],
)
def test_documented_example_holds(evaluate, source, expected):
    """A function answers what its documentation says."""
    assert evaluate(source) == pytest.approx(expected, rel=1e-7)


def test_flags_are_named_from_the_highest_bit(evaluate):
    """The flags of OLCI are land at bit 31 down to the saturation of the last band at bit 0."""
    flags = "Object.entries(decodeS3OLCIQualityFlags(2 ** 31 + 1))"
    assert evaluate(f"{flags}.filter((flag) => flag[1]).map((flag) => flag[0])") == ["land", "saturatedB21"]


@pytest.mark.parametrize(
    ("maker", "value", "expected"),
    [
        ("ColorRampVisualizer.createRedTemperature", 0.0, [0, 0, 0]),
        ("ColorRampVisualizer.createRedTemperature", 0.3, [1, 0.43137254901960786, 0]),
        ("ColorRampVisualizer.createRedTemperature", 0.5, [1, 0.5137254901960784, 0]),
        ("ColorRampVisualizer.createRedTemperature", 0.8, [1, 0.8, 0.5764705882352941]),
        ("ColorRampVisualizer.createWhiteGreen", 0.5, [0.3333333333333333, 0.6, 0]),
        ("ColorRampVisualizer.createWhiteGreen", 0.8, [0.7490196078431373, 0.8509803921568627, 0.4980392156862745]),
        ("ColorRampVisualizer.createBlueRed", 0.3, [0, 0.6980392156862745, 1]),
        ("ColorRampVisualizer.createBlueRed", 1.0, [0.5019607843137255, 0, 0]),
        ("ColorRampVisualizer.createOceanColor", 1.0, [105 / 255, 0, 0]),
        ("ColorGradientVisualizer.createRedTemperature", 0.3, [0.43137254901960786, 0, 0]),
        ("ColorGradientVisualizer.createRedTemperature", 0.5, [0.7176470588235294, 0.047058823529411764, 0]),
        ("ColorGradientVisualizer.createWhiteGreen", 0.8, [0.6666666666666666, 0.8, 0.3333333333333333]),
        ("ColorGradientVisualizer.createBlueRed", 0.3, [0, 0.7019607843137254, 1]),
        ("ColorGradientVisualizer.createBlueRed", 1.0, [0.5019607843137255, 0, 0]),
    ],
)
def test_ready_made_scale_shows_the_documented_colour(evaluate, maker, value, expected):
    """The ready-made scales from 0 to 1 show the colours of the documentation's examples."""
    assert evaluate(f"{maker}(0, 1).process({value})") == pytest.approx(expected, abs=1e-12)


def test_script_may_take_the_names_for_itself():
    """A script that declares a ready-made name gets its own."""
    context = MiniRacer()
    context.eval(PRELUDE)
    source = "const index = 1; let combine = 2; function inverse() { return 4; } class ColorRampVisualizer {}; "
    assert context.eval(source + "index + combine + inverse()") == 7
    context.close()
