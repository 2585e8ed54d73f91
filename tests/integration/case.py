"""What the tests of whole processes have in common."""

from __future__ import annotations

import tempfile
from itertools import takewhile
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.im_client import ImClient
from tests.integration.node import Node, User, new_node, shared_node


class NodeCase(SynchronousTestCase):
    """A test against real processes; whatever it opens is closed."""

    def directory(self) -> Path:
        """An empty directory."""
        path = Path(tempfile.mkdtemp(prefix="simple_im-"))
        self.addCleanup(rmtree, path, ignore_errors=True)
        return path

    def own_node(self, *options: str) -> Node:
        """A node for this test alone."""
        node = new_node(*options)
        self.addCleanup(node.clean_up)
        return node

    def shared_node(self) -> Node:
        """The node of all tests that do it no harm; it has to be alive when the test is over."""
        node = shared_node()
        self.addCleanup(lambda: self.assertEqual(node.https().get("/health").body, b"ok\n"))
        return node

    def connect(self, user: User, device: str, receive_buffer: int | None = None) -> ImClient:
        """A device on the IM door, signed in."""
        client = user.connect(device, receive_buffer)
        self.addCleanup(client.close)
        return client

    def stranger(self, node: Node) -> ImClient:
        """A connection to the IM door that has not signed in."""
        client = node.im()
        self.addCleanup(client.close)
        return client

    def all_for(self, user: User, client: ImClient) -> list[dict[str, Any]]:
        """All that `client`, a device of `user`, is sent now: what waits comes before what is sent from now on."""
        last = self.connect(user.node.new_user(), "last")
        last.message(user.id, "that was all")
        last.close()
        found = iter(lambda: client.receive()[1], None)
        return list(takewhile(lambda keys: keys["id"] != "that was all", found))
