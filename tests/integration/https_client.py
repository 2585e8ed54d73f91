"""A client of the HTTPS door that blocks: a connection a request."""

from __future__ import annotations

import http.client
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

TIMEOUT = 30.0


@dataclass
class Answer:
    """What a request was answered with."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as TOML."""
        return tomllib.loads(self.body.decode())

    def row(self, table: str) -> dict[str, Any]:
        """The only row of a table."""
        (row,) = self.document[table]
        found: dict[str, Any] = row
        return found

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table that may not be there."""
        return list(self.document.get(table, []))


class HttpsClient:
    """Trusts the authority at `ca`."""

    def __init__(self, port: int, ca: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca))

    def get(self, path: str, token: str | None = None) -> Answer:
        """`GET path`."""
        return self.request("GET", path, token=token)

    def post(self, path: str, form: Mapping[str, object] | None = None, token: str | None = None) -> Answer:
        """`POST path` with a form."""
        return self.request("POST", path, form, token)

    def delete(self, path: str, token: str | None = None) -> Answer:
        """`DELETE path`."""
        return self.request("DELETE", path, token=token)

    def request(
        self, method: str, path: str, form: Mapping[str, object] | None = None, token: str | None = None
    ) -> Answer:
        """Any request, answered to its end."""
        headers = {"Cookie": f"token={token}"} if token else {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self._exchange(method, path, None if form is None else urlencode(form), headers)

    def upload(self, path: str, body: bytes, content_type: Mapping[str, str], token: str) -> Answer:
        """`POST path` with a multipart form."""
        return self._exchange("POST", path, body, {"Cookie": f"token={token}", **content_type})

    def _exchange(self, method: str, path: str, body: str | bytes | None, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPSConnection("localhost", self._port, timeout=TIMEOUT, context=self._context)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()
