"""The list of nodes, where there is one node."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simple_im.cluster.directory import Door, LocalDirectory
from simple_im.status import ImIsOnline, NoServer
from tests.fakes import result_of


class LocalDirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answers = True
        self.probed: list[Door] = []

    async def probe(self, door: Door) -> bool:
        self.probed.append(door)
        return self.answers

    def directory(self, advertise: str | None = None) -> LocalDirectory:
        return LocalDirectory(Door("127.0.0.1", 1987), advertise, self.probe)

    def test_where_the_client_came_in(self) -> None:
        """Clients are sent to the host at which they reached the node."""
        self.assertEqual(self.directory().choose("im.example.org"), Door("im.example.org", 1987))

    def test_advertised(self) -> None:
        """Or to the advertised one, however they came in."""
        self.assertEqual(self.directory("chat.example.org").choose("10.0.0.1"), Door("chat.example.org", 1987))

    def test_reported_and_answering(self) -> None:
        """A node that answers stays on the list, whatever a client says; its own door is asked, no other."""
        directory = self.directory("chat.example.org")
        self.assertRaises(ImIsOnline, result_of, directory.report_failed())
        self.assertEqual(self.probed, [Door("127.0.0.1", 1987)])
        self.assertEqual(directory.choose("localhost").port, 1987)

    def test_reported_and_silent(self) -> None:
        """A node that does not answer is taken off the list; there is no other."""
        self.answers = False
        directory = self.directory()
        self.assertRaises(NoServer, result_of, directory.report_failed())
        self.assertRaises(NoServer, directory.choose, "localhost")

    def test_there_again(self) -> None:
        """It is back on the list when it says that it is there."""
        self.answers = False
        directory = self.directory()
        self.assertRaises(NoServer, result_of, directory.report_failed())
        directory.announce()
        self.assertEqual(directory.choose("localhost").port, 1987)
