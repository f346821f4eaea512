"""A child process that renders requests: pixels, script, file. Run as a module, with the number of its pipe.

Refuses to know HTTP, tokens and limits; whoever started it keeps the deadline and may kill it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.evalscript.loop import Feed
from shdask.emulator.evalscript.script import Script
from shdask.emulator.evalscript.setup import ScriptOutput, ScriptSetup
from shdask.emulator.lattice import Lattice
from shdask.emulator.process.job import RenderJob, check_bands
from shdask.emulator.process.reply import BOUNDARY
from shdask.emulator.refusal import Refusal, not_emulated
from shdask.emulator.render.encode import encode_image, encode_multipart, encode_tar
from shdask.emulator.render.messages import Describe, Phase, Spool, Spooled, Survey, Surveyed
from shdask.emulator.render.mosaic import find_inside, render_samples
from shdask.emulator.render.spool import cut_for_disk, open_spool
from shdask.emulator.render.stack import Stack, describe_scenes, make_stacks
from shdask.emulator.source import Source
from shdask.emulator.sources import make_sources

FEW_PLANES = 16
"""As many planes of a whole image are made at once; more of them strip by strip."""
STRIP_VALUES = 2**24
"""Input values of a strip."""
WATCH_S = 0.05


class Renderer:
    """Answers one question after another, each script in a context of its own."""

    def __init__(self, connection: Connection, sources: Mapping[str, Source], config: EmulatorConfig) -> None:
        self._connection = connection
        self._sources = sources
        self._compression = config.compression
        self._max_nbytes = config.script_memory_mb * 2**20 // 2

    def serve(self) -> None:
        """Answer until the other end closes the pipe. An answer is bytes, a message, or the error that arose."""
        while True:
            try:
                question = self._connection.recv()
            except EOFError:
                return
            answer: ScriptSetup | Surveyed | Spooled | Refusal | None = None
            content = b""
            try:
                if isinstance(question, Describe):
                    with self._load(question.script) as script:
                        answer = script.setup
                elif isinstance(question, Survey):
                    with self._load(question.job.script) as script:
                        setup, stacks = self._survey(question.job, script)
                    answer = Surveyed(setup=setup, samples=tuple(len(stack.samples) for stack in stacks))
                elif isinstance(question, Spool):
                    answer = self._spool(question.job, Path(question.folder))
                else:
                    content = self._render(question)
            except Refusal as refusal:
                answer = refusal
            except Exception:  # noqa: BLE001  # a renderer answers whatever happens
                answer = Refusal(500, "RENDERER_EXCEPTION", traceback.format_exc())
            self._connection.send(answer)
            if answer is None:
                self._connection.send_bytes(content)

    def _render(self, job: RenderJob) -> bytes:
        files = self._make_files(job)
        if job.reply.multipart:
            return encode_multipart(files, job.reply.renditions, BOUNDARY)
        return encode_tar(files) if job.reply.tar else next(iter(files.values()))

    def _make_files(self, job: RenderJob) -> dict[str, bytes]:
        with self._load(job.script) as script:
            setup, stacks = self._survey(job, script)
            outputs = [setup.output(image.identifier) for image in job.reply.images]
            _check_memory(job, outputs, self._max_nbytes)
            images = self._run(job, script, stacks, outputs)
            userdata = self._finish(script)
        files = dict.fromkeys((rendition.file_name for rendition in job.reply.renditions), userdata)
        for rendition, output, image in zip(job.reply.images, outputs, images, strict=True):
            files[rendition.file_name] = encode_image(
                image, rendition, job.lattice, compression=self._compression, nodata=output.nodata
            )
        return files

    def _spool(self, job: RenderJob, folder: Path) -> Spooled:
        with self._load(job.script) as script:
            setup, stacks = self._survey(job, script)
            outputs = [setup.output(image.identifier) for image in job.reply.images]
            with open_spool(job, outputs, folder, self._compression) as spool:
                for rows, images in self._draw(job, script, stacks, outputs, cut_for_disk):
                    spool.write(rows, images)
                userdata = self._finish(script)
        return Spooled(files=spool.finish(userdata))

    def _finish(self, script: Script) -> bytes:
        self._connection.send(Phase(script=True))
        # it may throw, whether or not it is listened to
        userdata = script.finish().encode()
        self._connection.send(Phase(script=False))
        return userdata

    def _survey(self, job: RenderJob, script: Script) -> tuple[ScriptSetup, list[Stack]]:
        stacks = make_stacks(job, script.setup, self._sources)
        if not script.setup.varies:
            return script.setup, stacks
        self._connection.send(Phase(script=True))
        kept, setup = script.survey([stack.describe() for stack in stacks])
        self._connection.send(Phase(script=False))
        return setup, [stack.keep(indices) for stack, indices in zip(stacks, kept, strict=True)]

    def _run(
        self, job: RenderJob, script: Script, stacks: Sequence[Stack], outputs: Sequence[ScriptOutput]
    ) -> list[NDArray[Any]]:
        strips = [images for _, images in self._draw(job, script, stacks, outputs, _strips)]
        if len(strips) == 1:
            return strips[0]
        return [np.concatenate(parts, axis=1) for parts in zip(*strips, strict=True)]

    def _draw(
        self,
        job: RenderJob,
        script: Script,
        stacks: Sequence[Stack],
        outputs: Sequence[ScriptOutput],
        cut: Callable[[Lattice, int], Iterator[slice]],
    ) -> Iterator[tuple[slice, list[NDArray[Any]]]]:
        """Rows and the (band, y, x) of every output there, from top to bottom."""
        feeds = [
            Feed(
                bands=tuple(band.name for band in stack.item.bands),
                divisors=check_bands(stack.item, self._sources[stack.data.collection]),
                samples=stack.count,
                key=stack.key,
            )
            for stack in stacks
        ]
        self._connection.send(Phase(script=True))
        script.begin(feeds, outputs, describe_scenes(stacks))
        self._connection.send(Phase(script=False))
        for rows in cut(job.lattice, sum(feed.planes for feed in feeds)):
            lattice = job.lattice.part(rows, slice(0, job.lattice.width))
            inside = find_inside(replace(job, lattice=lattice))
            planes = [
                plane
                for stack, feed in zip(stacks, feeds, strict=True)
                for plane in render_samples(
                    lattice,
                    inside,
                    self._sources[stack.data.collection],
                    stack.samples,
                    feed.bands,
                    stack.data.choices,
                )
            ]
            self._connection.send(Phase(script=True))
            images = script.run(planes, lattice.shape)
            self._connection.send(Phase(script=False))
            yield rows, images

    @contextmanager
    def _load(self, source: str) -> Iterator[Script]:
        self._connection.send(Phase(script=True))
        script = Script.load(source)
        try:
            self._connection.send(Phase(script=False))
            yield script
        finally:
            script.close()


def _check_memory(job: RenderJob, outputs: Sequence[ScriptOutput], max_nbytes: int) -> None:
    size = job.lattice.width * job.lattice.height
    nbytes = size * sum(output.bands * output.dtype.itemsize for output in outputs)
    if nbytes > max_nbytes:
        raise not_emulated(f"images of {nbytes} bytes, only up to {max_nbytes}")


def _strips(lattice: Lattice, planes: int) -> Iterator[slice]:
    height, width = lattice.shape
    rows = height if planes <= FEW_PLANES else max(1, STRIP_VALUES // (planes * width))
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))


def _watch(parent: int, memory_mb: int) -> None:
    page_mb = os.sysconf("SC_PAGE_SIZE") / 2**20
    statm = Path("/proc/self/statm")
    while os.getppid() == parent:
        if statm.exists() and int(statm.read_text().split()[1]) * page_mb > memory_mb:
            os._exit(1)
        time.sleep(WATCH_S)
    os._exit(0)


def main() -> None:
    """Serve the pipe named by the first argument; the first message on it is the configuration."""
    # Ctrl-C in a terminal reaches every process there; ending renderers is their parent's task
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    config = EmulatorConfig.from_json(connection.recv())
    # a busy script must not outlive the emulator: V8 releases the GIL, so this thread still runs
    threading.Thread(target=_watch, args=(os.getppid(), config.script_memory_mb), daemon=True).start()
    Renderer(connection, make_sources(config), config).serve()
    os._exit(0)  # V8 contexts left open may hang at exit


if __name__ == "__main__":
    main()
