"""Workloads of messages: at rest, as many as go through, to groups; and what the disk and Twisted alone take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.filling import Device, fill, write_users
from benchmarks.load.floor import relaying
from benchmarks.load.flows import Address
from benchmarks.load.groups import make_group
from benchmarks.load.numbers import Metrics, percentile
from benchmarks.load.stage import DEVICE, Cases, Stage, running
from benchmarks.load.traffic import Target, Traffic
from benchmarks.peers.disk import fsync_times
from simple_im.state import DATABASE


def latency(stage: Stage) -> Cases:
    """Pairs at rest; beside it, how long the disk takes for the fsync that an acknowledgement waits for."""
    with stage.target(2 * stage.sizes.pairs) as target:
        yield "at rest", partial(_at_rest, stage, target, target.users.parent)


def _at_rest(stage: Stage, target: Target, directory: Path | None = None) -> Metrics:
    sizes = stage.sizes
    found = stage.driver.trickle(target, sizes.rate, sizes.body, sizes.warmup, sizes.seconds)
    if directory is not None:
        times = sorted(fsync_times(directory, sizes.syncs))
        found |= {"fsync_p50_us": percentile(times, 50), "fsync_p99_us": percentile(times, 99)}
    return found


def throughput(stage: Stage) -> Cases:
    """Pairs with so many messages in flight each."""
    sizes = stage.sizes
    with stage.target(2 * sizes.pairs) as target:
        for window in sizes.windows:
            yield f"w{window}", partial(flood, stage, target, window, sizes.body)
        for body in sizes.bodies:
            yield f"w16, {body:,} bytes", partial(flood, stage, target, 16, body)


def flood(stage: Stage, target: Target, window: int, body: int) -> Metrics:
    """The throughput of a target."""
    return stage.driver.flood(target, window, body, stage.sizes.warmup, stage.sizes.seconds)


def floor(stage: Stage) -> Cases:
    """What a relay without logic and storage takes for the same."""
    sizes = stage.sizes
    with stage.directory() as directory, _relay(directory, 2 * sizes.pairs) as target:
        yield "at rest", partial(_at_rest, stage, target)
        for window in sizes.windows:
            yield f"w{window}", partial(flood, stage, target, window, sizes.body)


@contextlib.contextmanager
def _relay(directory: Path, people: int) -> Iterator[Target]:
    """A relay, which believes everybody."""
    devices = [Device(user, DEVICE, "none") for user in range(1, people + 1)]
    users = directory / "users.txt"
    write_users(users, devices)
    with relaying(directory / "ssl") as (port, pid):
        yield Target(port, pid, devices, users)


def fanout(stage: Stage) -> Cases:
    """One member writes to a group that is on line."""
    for members in stage.sizes.members:
        yield f"{members} members", partial(_fan_out, stage, members)


def _fan_out(stage: Stage, members: int) -> Metrics:
    """One message at a time, then some in flight; and what the database has grown by, when the node has stopped."""
    with stage.directory() as directory:
        devices = fill(directory / "state", members + 1, (DEVICE,))
        group = make_group(directory / "state", devices[0], devices[1:])
        database = directory / "state" / DATABASE
        before = database.stat().st_size
        with running(directory, devices) as target:
            found, messages = _write_to_group(stage, target, group)
        return {**found, "stored_bytes_per_message": (database.stat().st_size - before) / messages}


def _write_to_group(stage: Stage, target: Target, group: int) -> tuple[Metrics, int]:
    """The metrics, and how many messages there were."""
    sizes = stage.sizes
    with Traffic(target) as traffic:
        sender, *readers = traffic.sign_in(target.devices, 16)
        traffic.flow(sender, readers, Address(group, "gm", "g_id"), sizes.group_body)
        single = traffic.flood(1, sizes.warmup / 2, sizes.group_seconds)
        many = traffic.flood(sizes.group_window, sizes.warmup / 2, sizes.group_seconds)
        alone = {f"one_{name}": value for name, value in single.items() if name.startswith(("delivery", "ack"))}
        return {**many, **alone}, traffic.sent
