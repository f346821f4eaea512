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
from collections import OrderedDict
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.encode import encode_image, encode_tar
from shdask.emulator.loop import Feed
from shdask.emulator.messages import Describe, Phase
from shdask.emulator.mosaic import render_mosaic
from shdask.emulator.process import RenderJob, check_bands
from shdask.emulator.refusal import Refusal
from shdask.emulator.script import Script
from shdask.emulator.setup import ScriptSetup
from shdask.emulator.source import Source
from shdask.emulator.sources import make_sources

WARM_SCRIPTS = 4
WATCH_S = 0.5


class Renderer:
    """Answers one question after another; keeps the latest scripts warm."""

    def __init__(self, connection: Connection, sources: Mapping[str, Source], compression: str) -> None:
        self._connection = connection
        self._sources = sources
        self._compression = compression
        self._scripts: OrderedDict[str, Script] = OrderedDict()

    def serve(self) -> None:
        """Answer until the other end closes the pipe. An answer is bytes, a ScriptSetup, or the error that arose."""
        while True:
            try:
                question = self._connection.recv()
            except EOFError:
                return
            answer: ScriptSetup | Refusal | None = None
            content = b""
            try:
                if isinstance(question, Describe):
                    answer = self._load(question.script).setup
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
        return encode_tar(files) if job.reply.tar else next(iter(files.values()))

    def _make_files(self, job: RenderJob) -> dict[str, bytes]:
        if job.reply.userdata:
            # what a script gathers over other requests' pixels must not be told here
            self._forget(job.script)
        script = self._load(job.script)
        source = self._sources[job.collection]
        bands = tuple(band.name for band in script.setup.inputs)
        feed = Feed(bands=bands, divisors=check_bands(script.setup, source))
        outputs = [script.setup.output(image.identifier) for image in job.reply.images]
        planes = render_mosaic(job, source, bands)
        self._connection.send(Phase(script=True))
        script.begin([feed], outputs, {})
        images = script.run(planes)
        userdata = script.finish().encode() if job.reply.userdata else b""
        self._connection.send(Phase(script=False))
        files = dict.fromkeys((rendition.file_name for rendition in job.reply.renditions), userdata)
        for rendition, output, image in zip(job.reply.images, outputs, images, strict=True):
            files[rendition.file_name] = encode_image(
                image, rendition, job.lattice, compression=self._compression, nodata=output.nodata
            )
        return files

    def _load(self, source: str) -> Script:
        if source in self._scripts:
            self._scripts.move_to_end(source)
            return self._scripts[source]
        self._connection.send(Phase(script=True))
        script = Script.load(source)
        self._connection.send(Phase(script=False))
        self._scripts[source] = script
        if len(self._scripts) > WARM_SCRIPTS:
            self._scripts.popitem(last=False)[1].close()
        return script

    def _forget(self, source: str) -> None:
        if source in self._scripts:
            self._scripts.pop(source).close()


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
    Renderer(connection, make_sources(config), config.compression).serve()
    os._exit(0)  # V8 contexts left open may hang at exit


if __name__ == "__main__":
    main()
