"""Does the Slurm recipe build its cube, and what do ended, killed and outlived jobs cost?"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shdask
from benchmarks.faults import wrong_pixels
from benchmarks.record import RESULTS
from benchmarks.slurm_node import KILL_WAIT_S, SlurmNode, missing_programs, proctrack, start_slurm
from shdask.assemble.status import read_status
from shdask.emulator.launch import EmulatorProcess, start_emulator

RECIPE = Path(__file__).parents[1] / "deploy" / "slurm"
WORKER = "shdask-worker"
LATENCY_S = 5.0
RATE = 240
"""Requests a minute: some twenty are in flight."""
SLOW_RATE = 40
"""The tiles of the recipe's job take two minutes, longer than the shortest walltime that Slurm knows."""
MID_BUILD = 12
"""Tiles that are there when something happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a user of the recipe has: a Slurm, an account, a folder that all nodes see."""

    node: SlurmNode
    service: EmulatorProcess
    folder: Path
    log: Log
    undisturbed: Path

    def environment(self) -> dict[str, str]:
        """Of a login shell; the secret stands in the profile file alone."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SH_", "SLURM"))}
        places = {"HOME": str(self.folder / "home"), "DASK_CONFIG": str(self.folder / "home/.config/dask")}
        return {**clean, **self.node.environment(), **places, "SHDASK_LEARN": "0"}


@dataclass(slots=True, kw_only=True)
class Log:
    """What was run and what it said."""

    path: Path
    started: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Add lines, each with its second."""
        with self.path.open("a") as file:
            for line in text.rstrip().splitlines():
                file.write(f"{time.monotonic() - self.started:7.1f} {line}\n")
                print(line, flush=True)


def run() -> dict[str, Any]:
    """The recipe undisturbed, with jobs ended and killed, under a walltime, with lifetimes, and as a job itself."""
    missing = missing_programs()
    if missing or os.geteuid():
        sys.exit(f"not run: {', '.join(missing) or 'root'} is missing. Cure, as root: apt-get install slurm-wlm munge")
    log = Log(path=RESULTS / "slurm.log")
    log.path.unlink(missing_ok=True)
    secret = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory(prefix="shdask-slurm-") as name,
        start_emulator(latency_s=LATENCY_S, client_secret=secret) as service,
        start_slurm(Path(name, "slurm")) as node,
    ):
        folder = Path(name)
        site = Site(node=node, service=service, folder=folder, log=log, undisturbed=folder / "serial")
        _furnish(site, secret)
        found = {scenario.__name__.strip("_"): scenario(site) for scenario in SCENARIOS}
        log.say("$ sacct --completion (jobcomp/filetxt: there is no slurmdbd here)")
        log.say(node.run("sacct", "--completion", "--format=JobID,JobName,NCPUS,State,Start,End"))
        told = [str(path.relative_to(folder)) for path in node.kept_files() if secret.encode() in path.read_bytes()]
        return {
            "slurm": node.run("sinfo", "--version").strip(),
            "dask_jobqueue": _version("dask-jobqueue"),
            "node": {"cpus": 2, "kill_wait_s": KILL_WAIT_S, "proctrack": proctrack()},
            "scenarios": found,
            "files_of_slurm_with_the_secret": told,
        }


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _furnish(site: Site, secret: str) -> None:
    """Put recipe, settings of the site, profile and environment where a user would; build the cube once without it."""
    home, work = site.folder / "home", site.folder / "work"
    (home / ".config" / "sentinelhub").mkdir(parents=True, mode=0o700)
    profile = f'[default-profile]\nsh_client_id = "{site.service.client_id}"\nsh_client_secret = "{secret}"\n'
    (home / ".config" / "sentinelhub" / "config.toml").write_text(profile)
    shutil.copytree(RECIPE, work)
    (work / ".venv").symlink_to(sys.prefix)
    os.environ.update(site.service.environment(), SHDASK_LEARN="0")
    spec = shdask.CubeSpec.from_file(_write_job(site, 60_000))
    spec = spec.model_copy(update={"store": spec.store.model_copy(update={"tile_px": 1024})})
    shdask.build_cube(spec, site.undisturbed, executor=shdask.SerialExecutor()).raise_for_failures()


def _write_job(site: Site, rate: int) -> Path:
    """The recipe's job against the emulator, at so many requests a minute, evenly spread."""
    service = f'base_url = "{site.service.base_url}"\ntoken_url = "{site.service.token_url}"\nbucket_s = 1\n'
    job = (RECIPE / "job.toml").read_text()
    job = job.replace('deployment = "cdse"\n', service).replace("minute = 300", f"minute = {rate}")
    path = site.folder / "work" / "job.toml"
    path.write_text(job)
    return path


def _configure(site: Site, walltime: str = "00:10:00", **changes: str) -> None:
    """The recipe's jobqueue.yaml with this site's values."""
    values = {
        "cores: 4": "cores: 1", "memory: 8GB": "memory: 1GB", "interface: ib0": "interface: lo",
        '"01:00:00"': f'"{walltime}"', "127.0.0.1:8787": "127.0.0.1:0", '"~"': f'"{site.folder}"',
        "local-directory: /tmp ": f"local-directory: {site.folder} ", **changes,
    }  # fmt: skip  # what is replaced, and by what
    text = (RECIPE / "jobqueue.yaml").read_text()
    for old, new in values.items():
        if old not in text:
            raise ValueError(f"jobqueue.yaml has no {old!r}")
        text = text.replace(old, new)
    place = site.folder / "home" / ".config" / "dask"
    place.mkdir(exist_ok=True)
    (place / "jobqueue.yaml").write_text(text)


@contextmanager
def _driver(site: Site, store: Path, jobs: int = 2) -> Iterator[subprocess.Popen[str]]:
    """The recipe, started in a shell."""
    command = [".venv/bin/python", "cluster.py", "job.toml", str(store), "--jobs", str(jobs)]
    site.log.say(f"$ {' '.join(command)}")
    with subprocess.Popen(
        command,
        cwd=site.folder / "work",
        env=site.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _undisturbed(site: Site) -> dict[str, Any]:
    return _build(site, "undisturbed", dict)


def _ended_by_scancel(site: Site) -> dict[str, Any]:
    """SIGTERM to the job, SIGKILL after KillWait."""
    return _build(site, "ended-by-scancel", lambda: _scancel(site))


def _ended_by_scancel_behind_a_shell(site: Site) -> dict[str, Any]:
    """What the ``exec`` of the recipe is for: as dask-jobqueue has it, a shell gets the SIGTERM."""
    recipe = site.folder / "work" / "cluster.py"
    text = recipe.read_text()
    recipe.write_text(text.replace('f"exec {sys.executable}"', "sys.executable"))
    try:
        return _build(site, "behind-a-shell", lambda: _scancel(site))
    finally:
        recipe.write_text(text)


def _killed(site: Site) -> dict[str, Any]:
    """SIGKILL to all its processes at once, as when a node is lost; Slurm's own always comes after SIGTERM."""
    return _build(site, "killed", lambda: _kill(site))


def _outlived_by_walltime(site: Site) -> dict[str, Any]:
    """The walltime of a minute ends every job in mid-build, without a lifetime that would be before it."""
    changes = {'["--lifetime", "50m", "--lifetime-stagger", "5m"]': "[]"}
    return _build(site, "walltime", dict, rate=SLOW_RATE, walltime="00:01:00", changes=changes)


def _with_lifetimes(site: Site) -> dict[str, Any]:
    """Workers that leave by themselves before the walltime."""
    changes = {'"50m"': '"60s"', '"5m"': '"10s"'}
    return _build(site, "lifetimes", dict, rate=SLOW_RATE, walltime="00:03:00", changes=changes)


def _driver_as_a_job(site: Site) -> dict[str, Any]:
    """The owner in a job too, ended in mid-build by what Slurm sends before its walltime, and submitted again."""
    _configure(site)
    _write_job(site, RATE)
    store = site.folder / "driver-as-a-job"
    site.service.reset()
    submitted = []
    for _ in range(2):
        # a login shell's own; in place of --export=NONE, for this user's home is not the one of the recipe
        names = ("HOME", "DASK_CONFIG", "SLURM_CONF", "SHDASK_LEARN")
        export = ",".join(f"{name}={site.environment()[name]}" for name in names)
        command = ["sbatch", f"--export={export}", "driver.sbatch", "job.toml", str(store)]
        site.log.say(f"$ {' '.join([*command, '--jobs', '1'])}")
        answer = subprocess.run(
            [*command, "--jobs", "1"], cwd=site.folder / "work", env=site.environment(), capture_output=True, text=True,
            check=True,
        )  # fmt: skip  # one call
        submitted.append(answer.stdout.split()[-1])
        if len(submitted) == 1:
            _wait(lambda: _written(store) >= MID_BUILD or not site.node.is_busy())
            site.log.say(site.node.run("squeue"))
            site.log.say(f"$ scancel --batch --signal=TERM {submitted[0]}")
            site.node.run("scancel", "--batch", "--signal=TERM", submitted[0])
        _wait(lambda: not site.node.is_busy())
        site.log.say((site.folder / "work" / f"shdask-driver-{submitted[-1]}.out").read_text())
    return {"driver_jobs": submitted, **_result(site, store)}


SCENARIOS: tuple[Callable[[Site], dict[str, Any]], ...] = (
    _undisturbed,
    _ended_by_scancel,
    _ended_by_scancel_behind_a_shell,
    _killed,
    _outlived_by_walltime,
    _with_lifetimes,
    _driver_as_a_job,
)


def _build(
    site: Site,
    name: str,
    act: Callable[[], dict[str, Any]],
    *,
    rate: int = RATE,
    walltime: str = "00:10:00",
    changes: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Start the recipe, act once a fifth of the tiles is there, and say what the cube is and what it has cost."""
    _configure(site, walltime, **(changes or {}))
    _write_job(site, rate)
    site.log.say(f"== {name}")
    store = site.folder / name
    site.service.reset()
    seen: set[str] = set()
    began = time.monotonic()
    with _driver(site, store) as driver:
        _wait(lambda: _written(store) >= MID_BUILD or driver.poll() is not None)
        if driver.poll() is not None:
            raise RuntimeError(driver.communicate()[0])
        site.log.say("$ squeue")
        site.log.say(site.node.run("squeue"))
        in_environment = _workers_that_know(site)
        acted = act()
        while driver.poll() is None:
            seen.update(site.node.jobs(WORKER))
            time.sleep(0.5)
        out = driver.communicate(timeout=60)[0]
    site.log.say(out)
    _wait(lambda: not site.node.is_busy())
    return {
        **acted,
        "exit_code": driver.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "jobs": sorted(seen, key=int),
        "workers_with_the_secret_in_their_environment": in_environment,
        **_result(site, store),
    }


def _result(site: Site, store: Path) -> dict[str, Any]:
    """What a cube has cost, and whether it is right."""
    verify = [".venv/bin/python", "-m", "shdask", "verify", str(store), "--json"]
    told = subprocess.run(verify, cwd=site.folder / "work", capture_output=True, text=True, check=False)
    stats, status = site.service.stats(), read_status(store)
    requests = sum(count for call, count in stats["calls"].items() if "/process" in call)
    result = {
        "tiles": status.tiles,
        "written": status.written,
        "tiles_bought_again": requests - status.tiles,
        "pu_charged_over_needed": round(stats["pu_charged"] / sum(_needed_pu(site)), 4),
        "verify_exit_code": told.returncode,
        "wrong_pixels": wrong_pixels(store, site.undisturbed),
    }
    site.log.say(json.dumps(result))
    return result


def _needed_pu(site: Site) -> list[float]:
    return [group.cost.pu for group in shdask.make_plan(site.folder / "work" / "job.toml").groups.values()]


def _kill(site: Site) -> dict[str, Any]:
    victim = site.node.jobs(WORKER)[0]
    pids = site.node.pids(victim)
    site.log.say(f"$ kill -KILL {' '.join(map(str, pids))}  # job {victim}")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return {"killed_job": victim}


def _scancel(site: Site) -> dict[str, Any]:
    victim = site.node.jobs(WORKER)[0]
    site.log.say(f"$ scancel {victim}")
    site.node.run("scancel", victim)
    began = time.monotonic()
    _wait(lambda: victim not in site.node.run("squeue", "-h", "-t", "R,CG", "-o", "%i").split())
    return {"ended_job": victim, "its_cpu_was_free_after_s": round(time.monotonic() - began, 1)}


def _workers_that_know(site: Site) -> int:
    """How many processes of Dask's workers have the account's secret in their environment."""
    found = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"distributed.cli.dask_worker" in (place / "cmdline").read_bytes():
                found += site.service.client_secret.encode() in (place / "environ").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
    return found


def _written(store: Path) -> int:
    try:
        return read_status(store).written
    except shdask.ShdaskError:  # not created yet
        return 0


def _wait(holds: Callable[[], bool], timeout_s: float = 300.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.5)
