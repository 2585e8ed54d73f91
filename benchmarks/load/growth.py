"""Workloads of growth: the same traffic while there are tenfold more users, entries, or devices; and the cost of each
delivery to a user with many devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.filling import Device, fill
from benchmarks.load.backlog import Waiting, store
from benchmarks.load.flows import Address
from benchmarks.load.numbers import Metrics
from benchmarks.load.stage import DEVICE, Cases, Stage, running
from benchmarks.load.traffic import Target, Traffic
from simple_im.limits import DEVICES
from simple_im.state import DATABASE
from simple_im.store import inbox_sql
from simple_im.store.database import Cursor, prepare

_WINDOW: Final = 16
_EACH: Final = 10
"""Devices of each of those who do not talk."""
_MICROSECONDS: Final = 1_000_000

Filling = Callable[[Path], list[Device]]
"""Puts into the database at this path what there is to be, and gives the devices that will sign in."""


def growth(stage: Stage) -> Cases:
    """The cost of a message as one thing grows, everything else being the same.

    What is measured adds entries of its own: its time is short, so that they are no more than some ten thousand.
    """
    sizes = stage.sizes
    talkers = min(2 * sizes.pairs, min(sizes.users))
    for users in sizes.users:
        yield f"{users:,} users", partial(_pairs, stage, partial(_with_users, users, talkers))
    for entries in sizes.stored:
        yield f"{entries:,} entries", partial(_pairs, stage, partial(_with_entries, entries, talkers))
    for devices in sizes.devices:
        yield f"{devices:,} devices", partial(_pairs, stage, partial(_with_devices, devices, talkers))
    for count in sizes.own_devices:
        yield f"{count} to a recipient", partial(_to_devices, stage, count)


def _pairs(stage: Stage, filling: Filling) -> Metrics:
    sizes = stage.sizes
    with stage.directory() as directory:
        devices = filling(directory / "state")
        with running(directory, devices) as target:
            found = stage.driver.flood(target, _WINDOW, sizes.body, sizes.growth_warmup, sizes.growth_seconds)
    return _with_cost(found, 1)


def _with_users(users: int, talkers: int, state: Path) -> list[Device]:
    """Those who talk are spread over all."""
    devices = fill(state, users, (DEVICE,))
    return devices[:: users // talkers][:talkers]


def _with_entries(entries: int, talkers: int, state: Path) -> list[Device]:
    """Everybody has read their share of them."""
    author, *devices = fill(state, talkers + 1, (DEVICE,))
    share = entries // talkers
    store(state, [Waiting(author.user, device.user, share) for device in devices], devices)
    return devices


def _with_devices(devices: int, talkers: int, state: Path) -> list[Device]:
    """Others have the most of them, on which nobody is signed in."""
    found = fill(state, talkers, (DEVICE,))
    others = max(devices - talkers, 0) // _EACH
    fill(state, others, (), first=talkers)
    first = max(device.user for device in found) + 1
    prepare(state / DATABASE, partial(_add_devices, users=range(first, first + others)))
    return found


def _add_devices(cursor: Cursor, users: Iterable[int]) -> None:
    now = int(time.time())
    for user in users:
        for number in range(_EACH):
            inbox_sql.add_device(cursor, user, f"{DEVICE} {number}", now, DEVICES)


def _to_devices(stage: Stage, count: int) -> Metrics:
    """Each recipient is on line with so many devices, and a message is through when all of them have it."""
    sizes = stage.sizes
    names = [DEVICE, *(f"{DEVICE} {number}" for number in range(1, count))]
    with stage.directory() as directory:
        senders = fill(directory / "state", sizes.own_pairs, (DEVICE,))
        readers = fill(directory / "state", sizes.own_pairs, names, first=sizes.own_pairs)
        with running(directory, [*senders, *readers]) as target:
            found = _flood_devices(stage, target, count)
    return _with_cost(found, count)


def _flood_devices(stage: Stage, target: Target, count: int) -> Metrics:
    sizes = stage.sizes
    with Traffic(target) as traffic:
        seats = traffic.sign_in(target.devices, 16)
        senders, readers = seats[: sizes.own_pairs], seats[sizes.own_pairs :]
        for place, sender in enumerate(senders):
            own = readers[place * count : (place + 1) * count]
            traffic.flow(sender, own, Address(own[0].device.user), sizes.body)
        return traffic.flood(_WINDOW, sizes.growth_warmup, sizes.growth_seconds)


def _with_cost(found: Metrics, deliveries: int) -> Metrics:
    """The server's CPU time for a message, and where there are several deliveries, for each of those."""
    if "messages_per_cpu_s" not in found:
        return found
    cost = _MICROSECONDS / found["messages_per_cpu_s"] if found["messages_per_cpu_s"] else 0.0
    more = {"server_us_per_delivery": cost / deliveries} if deliveries > 1 else {}
    return {**found, "server_us_per_message": cost, **more}
