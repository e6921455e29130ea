"""A connection to a Ray cluster: found or refused within seconds, and what room it has."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from video_qa.launchers.launcher import LauncherError
from video_qa.launchers.node_facts import ROOT

CONNECT_SECONDS = 3.0
TRIAL_SECONDS = 11.0
TRIAL = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')"
"""Run in a process of its own, which can be stopped; Ray itself would try for a minute."""
ADVICE = "start one with 'ray start --head', or give --ray_address local"


@dataclass(frozen=True)
class Node:
    """A machine of the cluster and what it has in all."""

    node_id: str
    host: str
    num_cpus: float
    num_gpus: float

    @property
    def name(self) -> str:
        """For messages: host and the beginning of Ray's id (several may run on one machine)."""
        return node_name(self.host, self.node_id)

    def room(self, num_gpus: float, num_cpus: float) -> int:
        """How many workers of that size fit."""
        fits = [self.num_cpus // num_cpus] if num_cpus else []
        fits += [self.num_gpus // num_gpus] if num_gpus else []
        return int(min(fits))


def node_name(host: str, node_id: str) -> str:
    """See `Node.name`."""
    return f"{host}/{node_id[:8]}"


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Inside, Ray is connected to a cluster.

    Args:
        address: ``auto`` (the one this machine belongs to, or RAY_ADDRESS), ``local`` (one of its
            own on this machine, gone afterwards) or ``HOST:PORT``.

    Raises:
        LauncherError: there is none; known within 15 seconds.
    """
    named = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if named not in ("auto", "local"):
        _check_answers(named)
    term = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.chdir(ROOT):  # so that workers find this package in a mere checkout, too
            ray.init(
                address=named,
                log_to_driver=False,
                logging_level="ERROR",
                include_dashboard=False if named == "local" else None,
            )
        signal.signal(signal.SIGTERM, term)  # Ray puts its own in place, which would just exit
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).rstrip(".")
        raise LauncherError(
            f"no Ray cluster at --ray_address {named}: {reason}; {ADVICE}"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """The machines that are alive."""
    return [
        Node(
            found["NodeID"],
            found["NodeManagerHostname"],
            found["Resources"].get("CPU", 0.0),
            found["Resources"].get("GPU", 0.0),
        )
        for found in ray.nodes()
        if found["Alive"]
    ]


def here() -> str:
    """The name of the node that this process is on."""
    return node_name(socket.gethostname(), ray.get_runtime_context().get_node_id())


def _check_answers(address: str) -> None:
    """Raises LauncherError unless there is a cluster of which this machine is a node."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise LauncherError(f"--ray_address '{address}': expected auto, local or HOST:PORT")
    problem = f"no Ray cluster at --ray_address {address}"
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        command = [sys.executable, "-c", TRIAL, address]
        subprocess.run(command, timeout=TRIAL_SECONDS, check=True, capture_output=True, text=True)
    except OSError as error:
        raise LauncherError(f"{problem}: {error}; {ADVICE}") from None
    except subprocess.TimeoutExpired:
        late = f"no connection within {TRIAL_SECONDS:.0f} s, something else may answer there"
        raise LauncherError(f"{problem}: {late}; {ADVICE}") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise LauncherError(f"{problem} that this machine belongs to: {last}; {ADVICE}") from None


def shown_room(found: Mapping[Node, int], what: str) -> str:
    """``a/1234abcd: 2 GPUs, ...`` for messages."""
    amount: Any = (lambda node: node.num_gpus) if what == "GPU" else (lambda node: node.num_cpus)
    return ", ".join(f"{node.name}: {amount(node):g} {what}s" for node in found)
