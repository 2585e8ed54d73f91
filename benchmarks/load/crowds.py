"""Workloads of many at once: signing in, and being there."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import urlencode

from benchmarks.load.lines import client_context
from benchmarks.load.numbers import Metrics
from benchmarks.load.processes import ServerUse
from benchmarks.load.stage import DEVICE, Cases, Stage, node_in
from benchmarks.load.trouble import BenchError

PATIENCE: Final = 120.0
_FIRST_PHONE: Final = 15_600_000_000
_PASSWORD: Final = "correct horse"


def sign_ins(stage: Stage) -> Cases:
    """By password over HTTPS, and by token on a new connection to the IM door."""
    yield "password", partial(_by_password, stage)
    yield "token", partial(_by_token, stage)


def _by_token(stage: Stage) -> Metrics:
    with stage.target(stage.sizes.tokens) as target:
        return stage.driver.sign_ins(target, stage.sizes.at_once)


def _by_password(stage: Stage) -> Metrics:
    """Each sign-in on a connection of its own. The accounts are made the same way."""
    sizes = stage.sizes
    with stage.directory() as directory, node_in(directory) as node:
        phones = [str(_FIRST_PHONE + number) for number in range(sizes.accounts)]
        forms = [{"name": phone, "phone": phone, "password": _PASSWORD} for phone in phones]
        _post_all(node.http_port, "/user", forms, sizes.at_once)
        logins = [
            {"phone": phones[number % len(phones)], "password": _PASSWORD, "device": DEVICE}
            for number in range(sizes.passwords)
        ]
        before = ServerUse.now(node.pid)
        _post_all(node.http_port, "/server/login", logins, sizes.at_once)
        after = ServerUse.now(node.pid)
    return {"sign_ins_per_s": len(logins) / (after.at - before.at), **before.until(after)}


def _post_all(port: int, path: str, forms: Sequence[Mapping[str, str]], at_once: int) -> None:
    context = client_context()
    with ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(partial(_post, port, context, path), forms, timeout=PATIENCE):
            pass


def _post(port: int, context: ssl.SSLContext, path: str, form: Mapping[str, str]) -> None:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
    try:
        connection.request("POST", path, urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or b"status = 0" not in body:
            raise BenchError(f"POST {path} was answered {answer.status}: {body!r}")
    finally:
        connection.close()


def await_answer(port: int) -> None:
    """Return when the HTTPS door at this port answers, and not only its socket."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=client_context())
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    finally:
        connection.close()


def idle(stage: Stage) -> Cases:
    """Connections that are signed in and silent, and the memory that they take."""
    yield "memory", partial(_memory, stage)


def _memory(stage: Stage) -> Metrics:
    sizes = stage.sizes
    with stage.target(max(sizes.idle)) as target:
        return stage.driver.idle(target, sizes.idle, sizes.at_once, sizes.settle)
