"""Every block of code of the documentation runs on the emulator, or says on its page why it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from shdask.errors import PlanError
from tests.docs.blocks import ROOT, Block, Runner, read_blocks

ELSEWHERE = {
    "README.md": "tests/cluster/test_readme.py",
    "docs/emulator.md": "tests/contract/emulator/test_docs.py",
    "docs/migration.md": "tests/contract/sentinelhub/test_migration.py",
}
"""Pages whose blocks have a test of their own."""
NOT_RUN = {
    "deploy/coiled.md": ["needs an account at Coiled"],
    "deploy/compose/README.md": ["needs Docker; make docker runs it"],
    "deploy/gateway.md": ["needs a Dask Gateway"],
    "deploy/hosts/README.md": ["needs several hosts; make hosts runs these commands"],
    "deploy/kubernetes/README.md": ["needs Kubernetes; tests run its commands as processes"],
    "deploy/local/README.md": ["the recipe has a test of its own"],
    "deploy/slurm/README.md": ["needs Slurm; make slurm runs these files"],
    "docs/detached.md": ["needs a cluster and a bucket", "leaves a process behind", "needs a cluster and a bucket"],
    "docs/metrics.md": ["needs a build on a cluster"],
    "docs/migration-xcube.md": ["xcube-sh, before"],
    "docs/training.md": ["needs torch; tests/torch runs the same"],
    "docs/security.md": ["starts a cluster of its own", "needs certificates and several machines"],
}
"""Why blocks are not run, page by page."""
FOLDERS = [ROOT / "docs", ROOT / "deploy"]
WITH_BLOCKS = sorted(
    path
    for path in ["README.md", *(page.relative_to(ROOT).as_posix() for top in FOLDERS for page in top.rglob("*.md"))]
    if read_blocks(path)
)


@pytest.mark.parametrize("name", [name for name in WITH_BLOCKS if name not in ELSEWHERE])
def test_a_page_runs(name: str, page: Runner) -> None:
    """From its first block to its last, in one folder and one namespace, on the emulator."""
    page.run(read_blocks(name))


def test_commands_of_the_front_page_run(page: Runner) -> None:
    """All of them, on its own job in small tiles."""
    page.run([block for block in read_blocks("README.md") if block.language == "sh"])
    assert [Path(name).is_file() for name in ("cube.png", "cube.tif", "cube.json", "patches.parquet")] == [True] * 4


def test_no_page_is_left_out() -> None:
    """A page whose blocks are run elsewhere has blocks, and the test that it names exists."""
    assert set(ELSEWHERE) <= set(WITH_BLOCKS)
    assert [test for test in ELSEWHERE.values() if not (ROOT / test).is_file()] == []


def test_what_is_not_run_is_known() -> None:
    """The blocks that are not run, with the reasons that their pages give."""
    found = {name: [block.reason for block in read_blocks(name) if block.reason is not None] for name in WITH_BLOCKS}
    assert {name: reasons for name, reasons in found.items() if reasons} == NOT_RUN


def block(language: str, code: str) -> Block:
    return Block(page="page.md", line=1, language=language, title="", code=code)


def test_a_block_that_fails_is_named(page: Runner) -> None:
    """By its page and line."""
    with pytest.raises(ZeroDivisionError) as caught:
        page.run([block("python", "a = 0"), block("python", "1 / a")])
    assert caught.value.__notes__ == ["page.md:1"]


@pytest.mark.parametrize("code", ["shdask plan nothing.toml", "curl http://127.0.0.1/", "make nothing"])
def test_a_command_that_cannot_be_run_fails(code: str, page: Runner) -> None:
    """One of ours that ends with an error, one of others, a target that is none."""
    with pytest.raises(AssertionError):
        page.run([block("sh", code)])


def test_a_table_with_an_unknown_key_fails(page: Runner) -> None:
    """Tables are read as a job's."""
    with pytest.raises(PlanError, match="chunk_pixels"):
        page.run([block("toml", "[store]\nchunk_pixels = 512\n")])


def test_files_of_a_page_are_written(page: Runner) -> None:
    """Under their titles, the home folder's too."""
    page.run([Block(page="page.md", line=1, language="js", title="~/a/ndvi.js", code="//VERSION=3\n")])
    assert Path("a/ndvi.js").read_text() == "//VERSION=3\n"
