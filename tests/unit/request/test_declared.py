"""What users' evalscripts declare: read by V8 in a process of its own, and held against the job."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.request.declared import (
    Declared,
    DeclaredInput,
    DeclaredOutput,
    NamedOutput,
    check_declared,
    read_declared,
)
from shdask.request.evalscript import SAMPLE_DTYPES, RequestedBand, make_evalscript

PIXEL = "function evaluatePixel(s) { return [1]; }"
NDVI = """//VERSION=3
const scale = new ColorMapVisualizer([[0, 0x000000], [1, 0xffffff]]);
function setup() {
  return {
    input: [{bands: ["B04", "B08", "dataMask"], units: "reflectance"}],
    output: [
      {id: "default", bands: 2, sampleType: SampleType.FLOAT32},
      {id: "classes", bands: 1, sampleType: "UINT8"}
    ],
    mosaicking: Mosaicking.SIMPLE
  };
}
function evaluatePixel(s) { return {default: [index(s.B08, s.B04), s.dataMask], classes: [s.B04 > 0.2]}; }
"""
DECLARED = Declared(
    inputs=(
        DeclaredInput(
            datasource=None, bands=("B04", "B08", "dataMask"), units=("REFLECTANCE",) * 3, mosaicking="SIMPLE"
        ),
    ),
    outputs=(
        DeclaredOutput(id="default", bands=2, sample_type="FLOAT32"),
        DeclaredOutput(id="classes", bands=1, sample_type="UINT8"),
    ),
    updates_output=False,
)
JOB: dict[str, Any] = {
    "input_bands": ["B04", "B08"],
    "mosaicking": "SIMPLE",
    "outputs": {
        "default": NamedOutput(bands=("ndvi",), sample_type="FLOAT32"),
        "classes": NamedOutput(bands=("bright",), sample_type="UINT8"),
    },
}


def _setup(returned: str, more: str = "") -> str:
    return f"//VERSION=3\nfunction setup() {{ return {returned}; }}\n{PIXEL}\n{more}"


def test_a_script_says_what_it_reads_and_returns():
    """With the service's constants and helpers at hand, which scripts use before setup()."""
    assert read_declared(NDVI) == DECLARED


def test_the_short_form_is_read():
    """Names of bands alone, one output without a name: the service's defaults."""
    assert read_declared(_setup('{input: ["B04"], output: {bands: 3}}')) == Declared(
        inputs=(DeclaredInput(datasource=None, bands=("B04",), units=(None,), mosaicking="SIMPLE"),),
        outputs=(DeclaredOutput(id="default", bands=3, sample_type="AUTO"),),
        updates_output=False,
    )


def test_inputs_of_several_collections_are_read():
    """Each with its name and its own mosaicking."""
    script = _setup(
        '{input: [{datasource: "s2", bands: ["B04"], units: ["DN"]},'
        ' {datasource: "s1", bands: ["VV"], mosaicking: "ORBIT"}], output: {bands: 1}}'
    )
    declared = read_declared(script)
    assert [(item.datasource, item.bands, item.units, item.mosaicking) for item in declared.inputs] == [
        ("s2", ("B04",), ("DN",), "SIMPLE"),
        ("s1", ("VV",), (None,), "ORBIT"),
    ]


def test_a_function_as_a_value_is_a_function():
    """Scripts are written in many styles."""
    script = "//VERSION=3\nconst setup = () => ({input: ['B04'], output: {bands: 1}}); let evaluatePixel = (s) => [1];"
    assert read_declared(script).outputs[0].bands == 1


@pytest.mark.parametrize("first", ["//VERSION=3", "\ufeff//VERSION=3", "\n// VERSION = 3 (converted)"])
def test_the_version_is_found_as_people_write_it(first: str):
    """A byte order mark, an empty line or blanks are no other version."""
    assert read_declared(f"{first}\nfunction setup() {{ return {{input: ['B04'], output: {{bands: 1}}}}; }}\n{PIXEL}")


@pytest.mark.parametrize("script", ["", PIXEL, "//VERSION=1\n", "//VERSION=30\n", "// a note\n//VERSION=3\n"])
def test_another_version_is_refused(script: str):
    """Also where V8 is not installed: the first line says it."""
    with pytest.raises(PlanError, match="first line must be //VERSION=3"):
        read_declared(script)


def test_without_v8_nothing_is_said(monkeypatch: pytest.MonkeyPatch):
    """And nothing is run."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert read_declared(NDVI) is None


def test_v8_that_cannot_be_loaded_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A package of another system's is no reason to fail."""
    (tmp_path / "py_mini_racer.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert read_declared(NDVI) is None


def test_the_process_searches_no_folder_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A module there is called as one of Python's own, which would be loaded in its place."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    assert read_declared(NDVI) is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"//VERSION=3\n{PIXEL}", r"the function setup\(\) is missing; add it"),
        ("//VERSION=3\nfunction setup() { return {}; }", r"the function evaluatePixel\(\) is missing"),
        ("//VERSION=3\nfunction setup( {", "SyntaxError"),
        ("//VERSION=3\nlet x = undefined.foo", "evalscript:2: TypeError.*foo"),
        (f"//VERSION=3\nfunction setup() {{ throw new Error('odd'); }}\n{PIXEL}", "Error: odd"),
        (_setup("7"), "must return an object"),
        (_setup("{}"), "at least one input and one output"),
        (_setup("{input: [{bands: []}], output: {bands: 1}}"), "must name the bands of every input"),
        (_setup("{input: ['B04'], output: {bands: 0}}"), "a number of bands"),
        (_setup("{input: ['B04'], output: {bands: true}}"), "a number of bands"),
        (_setup("{input: ['B04'], output: [{bands: 1}, {bands: 1}]}"), "two outputs one id"),
        (_setup("{input: ['B04'], output: {bands: 1, sampleType: 'UINT32'}}"), "sampleType UINT32; choose UINT8"),
        (_setup("{input: ['B04'], output: {bands: 1}, mosaicking: 'DAY'}"), "mosaicking 'DAY'; choose SIMPLE"),
        (_setup("{input: [{bands: ['A', 'B'], units: ['DN']}], output: {bands: 1}}"), "one unit for all bands"),
        (_setup("{}", "Object.prototype.toJSON = () => 5;"), "changes the language"),
    ],
)
def test_a_script_that_says_nothing_usable_is_refused(script: str, words: str):
    """With the script's own error or the missing part named."""
    with pytest.raises(PlanError, match=words):
        read_declared(script)


@pytest.mark.parametrize("where", ["while (true) {}", "function setup() { while (true) {} }"])
def test_a_script_that_does_not_end_is_ended(where: str):
    """Its process is, and this one goes on."""
    with pytest.raises(PlanError, match=r"does not end, in 0.5 s; is there an endless loop\?"):
        read_declared(f"//VERSION=3\n{where}\n{PIXEL}", deadline_s=0.5)


@pytest.mark.parametrize("grown", ["new Float64Array(1e6).fill(1)", "new Array(1e5).fill('x').join()"])
def test_a_script_that_eats_memory_is_ended(grown: str):
    """Long before the machine feels it; buffers count, which V8's own limit does not see."""
    script = f"//VERSION=3\nfunction setup() {{ const a = []; while (true) a.push({grown}); }}\n{PIXEL}"
    with pytest.raises(PlanError, match="memory"):
        read_declared(script, max_nbytes=200 << 20, deadline_s=20)


@given(
    names=st.lists(st.from_regex(r"[A-Z][a-z0-9]{1,4}", fullmatch=True), min_size=1, max_size=4, unique=True),
    sample_type=st.sampled_from(list(SAMPLE_DTYPES)),
)
@settings(max_examples=5)
def test_our_own_scripts_pass_our_own_check(names: list[str], sample_type: str):
    """What the engine writes is what it demands of others: named bands, then the mask."""
    declared = read_declared(make_evalscript([RequestedBand(name=name, unit="DN") for name in names], sample_type))
    outputs = {"default": NamedOutput(bands=tuple(names), sample_type=sample_type)}
    check_declared(declared, input_bands=names, mosaicking="SIMPLE", outputs=outputs)


def test_a_job_that_says_what_the_script_does_passes():
    """The data mask need not be among the input bands."""
    check_declared(DECLARED, **JOB)
    check_declared(DECLARED, **{**JOB, "input_bands": ["B08", "B04", "dataMask"]})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"input_bands": ["B04"]}, "setup\\(\\) reads B08; add it to input_bands"),
        ({"input_bands": ["B04", "B08", "B11"]}, "setup\\(\\) does not read B11; take it out"),
        ({"input_bands": {"a": ["B04"], "b": ["VV"]}}, "setup\\(\\) has 1 inputs, the job names bands of 2"),
        ({"mosaicking": "ORBIT"}, 'has mosaicking SIMPLE, the job ORBIT; write mosaicking = "SIMPLE"'),
        (
            {"outputs": {"default": NamedOutput(bands=("a", "b"), sample_type="FLOAT32")}},
            "returns a, b without the data mask.*write bands: 3, and return it as the last band",
        ),
        (
            {"outputs": {"default": NamedOutput(bands=("a", "b", "c"), sample_type="FLOAT32")}},
            "has 2 bands, the job names a, b, c and dataMask: 4",
        ),
        (
            {"outputs": {"default": NamedOutput(bands=("ndvi",), sample_type="INT16")}},
            'has sampleType FLOAT32, the job INT16; write dtype = "float32" in the job',
        ),
        (
            {"outputs": {"ndvi": NamedOutput(bands=("ndvi",), sample_type="FLOAT32")}},
            "no output 'ndvi'; it has default, classes",
        ),
        (
            {"outputs": {**JOB["outputs"], "classes": NamedOutput(bands=("a", "b"), sample_type="UINT8")}},
            "'classes' has 1 bands, the job names a, b: 2",
        ),
    ],
)
def test_a_contradiction_is_named_with_its_cure(said: dict[str, Any], words: str):
    """Before anything is bought."""
    with pytest.raises(PlanError, match=words):
        check_declared(DECLARED, **{**JOB, **said})


def test_every_contradiction_is_named_at_once():
    """A script is mended once, and not once for each."""
    with pytest.raises(PlanError) as caught:
        check_declared(DECLARED, input_bands=["B02"], mosaicking="TILE", outputs={})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (_setup('{input: ["B04"], output: {bands: 2}}'), 'no sampleType.*write sampleType: "UINT16"'),
        (
            _setup('{input: ["B04"], output: {bands: 2, sampleType: "UINT16"}}', "function updateOutput(o) {}"),
            r"updateOutput\(\) changes the number of bands",
        ),
    ],
)
def test_what_a_cube_cannot_hold_is_refused(script: str, words: str):
    """Values stretched to bytes, and bands that come and go."""
    outputs = {"default": NamedOutput(bands=("red",), sample_type="UINT16")}
    with pytest.raises(PlanError, match=words):
        check_declared(read_declared(script), input_bands=["B04"], mosaicking="SIMPLE", outputs=outputs)


TWO = Declared(
    inputs=(
        DeclaredInput(datasource="s2", bands=("B04",), units=(None,), mosaicking="SIMPLE"),
        DeclaredInput(datasource="s1", bands=("VV",), units=(None,), mosaicking="SIMPLE"),
    ),
    outputs=(DeclaredOutput(id="default", bands=2, sample_type="FLOAT32"),),
    updates_output=False,
)
ONE_OUTPUT = {"default": NamedOutput(bands=("x",), sample_type="FLOAT32")}


def test_inputs_are_paired_by_name_in_any_order():
    """As the service pairs datasources with ids."""
    check_declared(TWO, input_bands={"s1": ["VV"], "s2": ["B04"]}, mosaicking="SIMPLE", outputs=ONE_OUTPUT)


@pytest.mark.parametrize(
    ("input_bands", "words"),
    [
        ({"s2": ["B04"], "radar": ["VV"]}, "datasource 's1' is no input of the job; it has s2, radar"),
        ({"s2": ["B04"], "s1": ["VH"]}, "reads VV of s1"),
    ],
)
def test_inputs_that_do_not_pair_are_named(input_bands: dict[str, list[str]], words: str):
    """With the names that there are."""
    with pytest.raises(PlanError, match=words):
        check_declared(TWO, input_bands=input_bands, mosaicking="SIMPLE", outputs=ONE_OUTPUT)
