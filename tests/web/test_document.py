"""Documents: what a client likes best, and how rows are written."""

from __future__ import annotations

import json
import tomllib

from twisted.trial.unittest import SynchronousTestCase

from simple_im.status import MethodNotAllowed, TooManyRequests
from simple_im.web.document import JSON, TOML, Answer, preferences, preferred, refusal, to_json, to_toml


class PreferenceTests(SynchronousTestCase):
    def test_preferences(self) -> None:
        """Names are read with their `q`; what is no number is no liking."""
        expected = {"a/b": 1.0, "c": 0.5, "d": 0.0, "e": 1.0}
        self.assertEqual(preferences("A/B, c;q=0.5,d;q=high ,, e;level=1"), expected)

    def test_preferred(self) -> None:
        """JSON only where it is liked more than TOML."""
        for accept in ("", "*/*", TOML, f"{TOML}, {JSON}", f"{JSON};q=0", f"{JSON};q=nan"):
            self.assertEqual(preferred(accept), TOML, accept)
        for accept in (JSON, f"{JSON};q=0.1", f"{TOML};q=0.5, {JSON};q=0.6"):
            self.assertEqual(preferred(accept), JSON, accept)


class DocumentTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """Rows stand in tables of their names, behind the response; the two forms are one document."""
        answer = Answer({"more": True}, tables={"user": [{"id": 1}, {"id": 2}], "none": []})
        expected = {"response": [{"status": 0, "more": True}], "user": [{"id": 1}, {"id": 2}]}
        self.assertEqual(tomllib.loads(to_toml(answer).decode()), expected)
        self.assertEqual(json.loads(to_json(answer)), expected)

    def test_refusal(self) -> None:
        """A refusal has its status, its reason under both names, and its headers."""
        answer = refusal(TooManyRequests(3), error="e")
        self.assertEqual((answer.http, answer.status, answer.headers), (429, 4, {"Retry-After": "3"}))
        reason = "Too Many Requests"
        self.assertEqual(answer.response, {"r": reason, "reason": reason, "error": "e"})
        self.assertEqual(refusal(MethodNotAllowed("GET")).headers, {"Allow": "GET"})
