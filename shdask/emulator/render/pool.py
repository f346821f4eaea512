"""The renderers: child processes that are given one job at a time, and replaced when they overstay a deadline.

Refuses to know what a job is about.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.evalscript.setup import ScriptSetup
from shdask.emulator.process.job import RenderJob
from shdask.emulator.refusal import Refusal, script_failed
from shdask.emulator.render.messages import Describe, Phase, Spool, Spooled, Survey, Surveyed

Question = Describe | Survey | Spool | RenderJob
Answer = bytes | ScriptSetup | Surveyed | Spooled


class RendererPool:
    """Up to ``count`` renderer processes, as many as are asked at once; they end with this process, or on ``close``."""

    def __init__(self, config: EmulatorConfig, count: int) -> None:
        self._config = config
        self._count = count
        self._threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix="renderer")
        self._idle: asyncio.Queue[_Child] = asyncio.Queue()
        self._children: set[_Child] = set()

    def start(self) -> None:
        """Start the first process, without waiting for it."""
        if not self._children:
            self._add()

    def close(self) -> None:
        """Kill the processes."""
        for child in self._children:
            child.kill()
        self._children = set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def describe(self, script: str) -> ScriptSetup:
        """What the script's setup() declares; raises Refusal."""
        answer = await self._ask(Describe(script=script))
        if not isinstance(answer, ScriptSetup):
            raise TypeError(f"a renderer answered {answer!r}")
        return answer

    async def survey(self, job: RenderJob) -> Surveyed:
        """What the job's price depends on; raises Refusal."""
        answer = await self._ask(Survey(job=job))
        if not isinstance(answer, Surveyed):
            raise TypeError(f"a renderer answered {answer!r}")
        return answer

    async def render(self, job: RenderJob) -> bytes:
        """The job's file; raises Refusal."""
        answer = await self._ask(job)
        if not isinstance(answer, bytes):
            raise TypeError(f"a renderer answered {answer!r}")
        return answer

    async def spool(self, job: RenderJob, folder: str, patience: float) -> Spooled:
        """The job's files, written into ``folder``; raises Refusal.

        ``patience`` is how many times the time of a Process request it may take.
        """
        answer = await self._ask(Spool(job=job, folder=folder), patience)
        if not isinstance(answer, Spooled):
            raise TypeError(f"a renderer answered {answer!r}")
        return answer

    async def _ask(self, question: Question, patience: float = 1.0) -> Answer:
        if self._idle.empty() and len(self._children) < self._count:
            self._add()
        child = await self._idle.get()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, child.ask, question, patience)
        except BaseException:
            # the child is in an unknown state, so another takes its place
            child.kill()
            self._children.discard(child)
            self._add()
            raise
        self._idle.put_nowait(child)
        if isinstance(answer, Refusal):
            raise answer
        if not isinstance(answer, Answer):
            raise TypeError(f"a renderer answered {answer!r}")
        return answer

    def _add(self) -> None:
        child = _Child(self._config)
        self._children.add(child)
        self._idle.put_nowait(child)


class _Child:
    def __init__(self, config: EmulatorConfig) -> None:
        self._script_timeout_s = config.script_timeout_s
        self._render_timeout_s = config.render_timeout_s
        self._connection, theirs = multiprocessing.Pipe()
        command = [sys.executable, "-m", "shdask.emulator.render.renderer", str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))  # noqa: S603  # our own module
        theirs.close()
        self._connection.send(config.to_json())

    def ask(self, question: Question, patience: float) -> Any:
        self._connection.send(question)
        limits = {True: self._script_timeout_s * patience, False: self._render_timeout_s * patience}
        left, in_script = dict(limits), False
        while True:
            started = time.monotonic()
            if not self._connection.poll(left[in_script]):
                raise _late(in_script, limits[in_script])
            # the stretches of one question share its time
            left[in_script] = max(0.0, left[in_script] - (time.monotonic() - started))
            answer = _receive(self._connection, in_script)
            if not isinstance(answer, Phase):
                return self._connection.recv_bytes() if answer is None else answer
            in_script = answer.script

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()


def _receive(connection: Connection, in_script: bool) -> Any:
    try:
        return connection.recv()
    except (EOFError, ConnectionError):
        if in_script:
            raise script_failed("Error: the script took too much memory") from None
        raise Refusal(500, "RENDERER_EXCEPTION", "The renderer ended unexpectedly.") from None


def _late(in_script: bool, timeout_s: float) -> Refusal:
    if in_script:
        return script_failed(f"Error: the script ran longer than {timeout_s:g} s")
    return Refusal(500, "RENDERER_EXCEPTION", f"Rendering took longer than {timeout_s:g} s.")
