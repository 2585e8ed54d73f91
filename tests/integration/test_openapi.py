"""docs/openapi.yaml against the HTTPS door: the same paths, and no answer that it does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from simple_im import __version__
from simple_im.config import Config
from simple_im.media import KINDS, names, recognized
from simple_im.parts import Parts
from tests.integration.case import NodeCase
from tests.integration.node import PATIENCE, ROOT, Node, User

FORM: Final = "application/x-www-form-urlencoded"
DOCUMENT: Final = str(ROOT / "docs" / "openapi.yaml")
EXAMPLES: Final = 24
"""Requests of each sort to an operation."""
GROUPS: Final = 10
"""Groups for a sort of requests to choose from; there are more than four times as many."""
FEW: Final = 6
"""The same where each costs a password's hashing."""
SLOW: Final = ("createUser", "updateUser", "login", "logout")
BEGINNINGS: Final = {
    "audio/amr": b"#!AMR\n\x3c",
    "audio/mp4": b"\0\0\0\x18ftypM4A ",
    "audio/aac": b"\xff\xf1\x50\x80\x01\x3f\xfc",
    "audio/ogg": b"OggS\0\x02" + bytes(21),
    "audio/mpeg": b"ID3\x04\0\0\0\0\0\x0a",
    "video/mp4": b"\0\0\0\x18ftypisom",
    "video/webm": b"\x1a\x45\xdf\xa3\x42\x82\x84webm",
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a\x01\0\x01\0\0\0\0",
    "image/webp": b"RIFF\0\0\0\0WEBPVP8 ",
}
"""How a file begins that is one, by its media type; what follows does not matter."""


def document() -> Any:
    """The document, as Schemathesis reads it."""
    return schemathesis.openapi.from_path(DOCUMENT)


def written_routes(paths: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The document's paths as the server's routes are written, such as `GET /user/id/*`."""
    for path, methods in paths.items():
        yield from (f"{method.upper()} {re.sub('{[^}]*}', '*', path)}" for method in methods)


def served_routes(spot: Any, path: str = "") -> Iterator[str]:
    """What answers in a place of the server's tree and below; see `simple_im.web.tree.Spot`."""
    yield from (f"{method} {path}" for method in spot.methods)
    below = {**spot.named, **({"*": spot.parameter} if spot.parameter else {})}
    for part, each in below.items():
        yield from served_routes(each, f"{path}/{part}")


class DocumentTests(SynchronousTestCase):
    def test_valid(self) -> None:
        """It is OpenAPI 3.1, of this version of simple_im."""
        schema = document()
        schema.validate()
        self.assertEqual(schema.raw_schema["openapi"], "3.1.0")
        self.assertEqual(schema.raw_schema["info"]["version"], __version__)

    def test_routes(self) -> None:
        """It has every route of the server, and no other."""
        config = Config(Path(self.mktemp()), 0, 0, "127.0.0.1", None, 1)
        root: Any = Parts(config, MemoryReactorClock(), 1, 1987).site.resource
        written = written_routes(document().raw_schema["paths"])
        self.assertEqual(sorted(written), sorted(served_routes(root._spot)))

    def test_media_types(self) -> None:
        """A file of each media type that it has for uploads is recognized as that, downloads are of the same, and the
        server knows no other."""
        paths = document().raw_schema["paths"]
        for kind in KINDS:
            content = paths[f"/file/{kind}/{{name}}"]["get"]["responses"]["200"]["content"]
            for table in ("m", "gm"):
                body = paths[f"/{table}/{kind}"]["post"]["requestBody"]["content"]["multipart/form-data"]
                self.assertEqual(body["encoding"][kind]["contentType"].split(", "), list(content))
            self.assertEqual(len(content), len(names(kind).split(", ")))
            found = [recognized(kind, BEGINNINGS[media_type]) for media_type in content]
            self.assertEqual([each and each.media_type for each in found], list(content))


@dataclass
class World:
    """A node and the people on it; the first one's phone makes the requests."""

    node: Node
    session: requests.Session
    people: list[User] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def settle(self) -> None:
        """People, contacts, requests that wait, groups, and a file of each kind."""
        self.people = [self.node.new_user() for _ in range(4)]
        for user in self.people:
            user.sign_in("phone")
        ann, ben, cleo, dan = self.people
        for asker, asked in ((ann, ben), (cleo, ann), (ann, dan)):
            self.do(asker, "POST", f"/contact/{asked.id}", data={"ask": "hello"})
        self.do(ben, "PUT", f"/contact/{ann.id}")
        for creator in (ann, ben):
            self.do(creator, "POST", "/group", data={"name": "all", "members[]": [ben.id, cleo.id]})
        for kind, media_type in (("audio", "audio/amr"), ("video", "video/mp4"), ("image", "image/png")):
            file = {kind: BEGINNINGS[media_type]}
            answer = self.do(ann, "POST", f"/m/{kind}", data={"to": ben.id}, files=file)
            self.files[kind] = answer["response"][0]["c"].rpartition("/")[2]

    def do(self, who: User, method: str, path: str, **more: Any) -> Any:
        """A request that is answered with 200."""
        headers = self.headers(who.tokens["phone"])
        answer = self.session.request(method, self.url + path, headers=headers, timeout=PATIENCE, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def url(self) -> str:
        """Where the HTTPS door is."""
        return f"https://localhost:{self.node.http_port}"

    def headers(self, token: str) -> dict[str, str]:
        """With this token, for JSON."""
        return {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def check(self, case: Case[Any]) -> None:
        """Send a request; raises where its answer is not one that the document has. To log out takes a new token."""
        ann = self.people[0]
        is_logout = case.operation.path == "/server/logout"
        headers = self.headers(ann.sign_in("spare") if is_logout else ann.tokens["phone"])
        case.cookies = {}  # A made-up token in a cookie would be taken for what let the request through.
        case.call_and_validate(
            self.url,
            self.session,
            headers,
            excluded_checks=[positive_data_acceptance] if self.is_beyond_schemas(case) else [],
            verify=str(self.node.ca),
            timeout=PATIENCE,
        )

    def is_beyond_schemas(self, case: Case[Any]) -> bool:
        """Whether it may be refused for what no schema can say: one is no contact of one's own, and a range of bytes
        has to be one that the file has."""
        path, parameters = case.operation.path, case.path_parameters or {}
        return path.startswith("/file/") or (path == "/contact/{id}" and parameters.get("id") == self.people[0].id)

    def requests(self, operation: Any) -> list[st.SearchStrategy[Case[Any]]]:
        """Good requests for anything and for what there is, and wrong ones."""
        wrong = [] if operation.path == "/health" else [operation.as_strategy(GenerationMode.NEGATIVE)]
        return [operation.as_strategy(), self.existing(operation), *wrong]

    def existing(self, operation: Any) -> st.SearchStrategy[Case[Any]]:
        """Requests whose path leads to something, or whose form is right. Those that end something have groups of their
        own, so that there are some left for the others."""
        ann = self.people[0]
        kind = operation.path.split("/")[2] if operation.path.startswith("/file/") else "image"
        first_group = 1 + GROUPS * (operation.path.count("/") - 1 if operation.method == "delete" else 0)
        there = {
            "id": st.sampled_from([user.id for user in self.people]),
            "g_id": st.integers(first_group, first_group + GROUPS - 1),
            "phone": st.sampled_from([user.phone for user in self.people]),
            "version": st.integers(0, 3),
            "timestamp": st.just(0),
            "name": st.just(self.files[kind]),
        }
        forms = {
            "/server/login": {"phone": ann.phone, "password": ann.password, "device": "tablet"},
            "/server/reconnect": {"id": ann.id},
        }
        body = {"body": forms[operation.path], "media_type": FORM} if operation.path in forms else {}
        parameters = st.fixed_dictionaries({name: there[name] for name in re.findall("{(.*?)}", operation.path)})
        return parameters.flatmap(lambda found: operation.as_strategy(path_parameters=found, **body))


def register_media_types() -> None:
    """Have files made up that are what they are said to be."""
    for media_type, beginning in BEGINNINGS.items():
        schemathesis.openapi.media_type(media_type, st.binary(max_size=64).map(beginning.__add__))


def fault(world: World, operation: str, strategy: st.SearchStrategy[Case[Any]], count: int) -> str:
    """What is wrong with the answers, with the request to repeat it; nothing where all are right."""

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def answered(case: Case[Any]) -> None:
        world.check(case)

    try:
        answered()
    except (Exception, BaseExceptionGroup) as error:
        return f"{operation}: {error}"
    return ""


class AnswerTests(NodeCase):
    """What Schemathesis makes of the document, sent to a node."""

    def test_answers(self) -> None:
        """Each request, good or wrong, is answered as the document says: with a status, headers and a document that it
        has. A good one is not refused as bad, a wrong one is, none works without a token where one is needed, and
        there is no server error."""
        register_media_types()
        world, faults = self.world(), []
        for found in document().get_all_operations():
            operation = found.ok()
            count = FEW if operation.definition.raw["operationId"] in SLOW else EXAMPLES
            for strategy in world.requests(operation):
                faults += [said for said in [fault(world, operation.label, strategy, count)] if said]
        if faults:
            self.fail("\n\n".join(faults))

    def world(self) -> World:
        """A world whose token lasts: its device has been on the IM door."""
        node = self.own_node()
        session = requests.Session()
        session.verify, session.trust_env = str(node.ca), False
        self.addCleanup(session.close)
        world = World(node, session)
        world.settle()
        self.connect(world.people[0], "phone")
        return world
