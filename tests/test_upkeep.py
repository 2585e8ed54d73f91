"""What a node does by itself from time to time."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred

from simple_im import upkeep as upkeep_module
from simple_im.im.device import Device
from simple_im.im.outbox import Outbox, Turn
from simple_im.im.sessions import Sessions
from simple_im.limits import DAY, DEVICE_LIFE, TOKEN_LIFE, TOKEN_TOUCH, TOKEN_TRIAL
from simple_im.store import files as files_module
from simple_im.store import retention
from simple_im.store.files import Files, prepare_folders
from simple_im.store.tokens import Tokens, token_hash
from simple_im.upkeep import Upkeep
from tests.store.fakes import PHONE, draft
from tests.store.stepped import SteppedCase

RETENTION = 7 * DAY


class Link:
    """A signed-in connection."""

    def __init__(self, device: Device, token: str) -> None:
        self.device = device
        self.token_hash = token_hash(token)

    def bye(self, reason: str) -> None:
        """Nobody says it here."""


class UpkeepCase(SteppedCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(1_000_000_000)
        self.turn = Turn()
        self.sessions = Sessions(self.turn)
        self.tokens = Tokens(self.database, self.clock.seconds)
        self.patch(files_module, "deferToThread", maybeDeferred)
        self.directory = Path(self.mktemp())
        prepare_folders(self.directory)
        self.files = Files(self.database, self.directory)
        self.upkeep = self.made(RETENTION)

    def made(self, retention_time: float) -> Upkeep:
        return Upkeep(self.database, self.tokens, self.files, self.sessions, retention_time, self.clock)

    def begin(self) -> None:
        self.upkeep.start()
        self.addCleanup(self.stop)
        self.database.settle()

    def stop(self) -> None:
        self.done(self.upkeep.stop())

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.database.settle()

    def store(self, *ids: bytes) -> None:
        self.append(*(draft(id_, 2) for id_ in ids))
        self.database.settle()

    def keep(self) -> Path:
        """A file that was sent now."""
        draft = self.files.draft()
        draft.touch()
        return self.done(self.files.keep(draft, "image", "png", (2,), int(self.clock.seconds()))).path

    def count(self, table: str) -> int:
        return int(self.database.rows(f"SELECT count(*) FROM {table}")[0][0])

    def connect(self, name: str = PHONE) -> None:
        """A device that signs in and stays."""
        state = self.device(2, name)
        token = self.done(self.tokens.issue(2, name))
        self.done(self.tokens.claim(token, 2, name))
        device = Device(state, self.inbox, Outbox(lambda data: None, self.turn, lambda: None), self.turn, self.clock)
        self.sessions.add(Link(device, token), [name])
        self.done(self.inbox.flush())


class RunTests(UpkeepCase):
    def test_at_start(self) -> None:
        """What was past its time when the node started goes at once."""
        self.device(2)
        self.done(self.tokens.issue(2, PHONE))
        self.store(b"a")
        self.clock.advance(DEVICE_LIFE + 1)
        self.begin()
        self.assertEqual([self.count(table) for table in ("run", "message", "inbox", "token", "device")], [0] * 5)

    def test_entries(self) -> None:
        """Entries go when they are past the retention, within a hundredth of it or ten minutes, and not before."""
        self.begin()
        self.store(b"a")
        self.later(RETENTION)
        self.assertEqual(self.count("run"), 1)
        self.later(600)
        self.assertEqual(self.count("run"), 0)

    def test_files(self) -> None:
        """Files go with the messages that they were sent with, and not before."""
        self.begin()
        self.store(b"a")
        path = self.keep()
        self.later(RETENTION)
        self.assertEqual((path.exists(), self.count("run")), (True, 1))
        self.later(600)
        self.assertEqual((path.exists(), self.count("run"), self.count("file")), (False, 0, 0))

    def test_all_slices(self) -> None:
        """However many there are, they all go."""
        self.patch(retention, "_SLICE", 2)
        self.patch(files_module, "_SLICE", 2)
        self.patch(retention, "_DEVICES", 2)
        for number in range(7):
            self.device(2, f"{number}")
        for number in range(7):
            self.store(b"%d" % number)
        for _ in range(7):
            self.keep()
        self.clock.advance(DEVICE_LIFE + 1)
        self.begin()
        self.assertEqual([self.count(table) for table in ("run", "device", "file")], [0, 0, 0])

    def test_tokens(self) -> None:
        """Tokens go when they are past their time."""
        self.device(2)
        self.begin()
        self.done(self.tokens.issue(2, PHONE))
        self.later(TOKEN_TRIAL - 1)
        self.assertEqual(self.count("token"), 1)
        self.later(600)
        self.assertEqual(self.count("token"), 0)

    def test_devices(self) -> None:
        """Devices are forgotten when they were not seen for 30 days, and not before."""
        self.device(2)
        self.begin()
        self.later(DEVICE_LIFE)
        self.assertEqual(self.count("device"), 1)
        self.later(600)
        self.assertEqual(self.count("device"), 0)


class IntervalTests(UpkeepCase):
    def runs_in(self, retention_time: float, seconds: int) -> int:
        """How often it runs in as many seconds."""
        runs: list[int] = []
        self.patch(Tokens, "purge", lambda tokens: _noted(runs))
        self.upkeep = self.made(retention_time)
        self.begin()
        for _ in range(seconds):
            self.later(1)
        self.stop()
        return len(runs)

    def test_long(self) -> None:
        """With a retention of days it runs every ten minutes."""
        self.assertEqual(self.runs_in(RETENTION, 3_600), 1 + 6)

    def test_short(self) -> None:
        """With a short one, a hundred times in it."""
        self.assertEqual(self.runs_in(1_000, 1_000), 1 + 100)

    def test_shortest(self) -> None:
        """But not more often than once a second."""
        self.assertEqual(self.runs_in(5, 10), 1 + 10)


async def _noted(runs: list[int]) -> None:
    runs.append(1)


class ConnectedTests(UpkeepCase):
    def test_stays(self) -> None:
        """A connected device is not forgotten, nor its token, however long it stays; one that left is."""
        self.connect()
        self.device(2, "gone")
        self.begin()
        for _ in range(90):
            self.later(DAY)
        self.assertEqual(self.database.rows("SELECT name FROM device"), [(PHONE,)])
        self.assertEqual(self.count("token"), 1)

    def test_back_after_a_stop(self) -> None:
        """It is noted at the start too."""
        self.connect()
        self.clock.advance(TOKEN_LIFE - 1)
        self.begin()
        self.later(600)
        self.assertEqual((self.count("token"), self.count("device")), (1, 1))

    def test_to_the_half_hour(self) -> None:
        """It is noted every half hour, not each time."""
        self.connect()
        self.begin()
        noted = set()
        for _ in range(4 * 6):
            self.later(600)
            noted.add(self.database.rows("SELECT seen FROM device")[0][0])
        self.assertEqual(len(noted), 1 + 4 * 3_600 // (TOKEN_TOUCH // 2))


class FailureTests(UpkeepCase):
    def test_put_off(self) -> None:
        """What the database does not take is done by a later run."""
        self.store(b"a")
        self.clock.advance(RETENTION + 1)
        self.database.broken = True
        self.begin()
        self.later(600)
        self.assertEqual(self.count("run"), 1)
        self.database.broken = False
        self.later(600)
        self.assertEqual(self.count("run"), 0)

    def test_noting_put_off(self) -> None:
        """So is the noting of who is there."""
        self.connect()
        self.database.broken = True
        self.begin()
        self.database.broken = False
        self.later(600)
        self.assertEqual(self.database.rows("SELECT seen FROM device"), [(int(self.clock.seconds()),)])

    def test_fault_of_ours(self) -> None:
        """A fault in the program is logged, and the next run comes all the same."""
        self.store(b"a")
        self.clock.advance(RETENTION + 1)
        patch = self.patch(upkeep_module, "forget_devices", lambda database, before: 1 // 0)
        self.begin()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        patch.restore()
        self.later(600)
        self.assertEqual(self.count("run"), 0)


class StopTests(UpkeepCase):
    def test_waits(self) -> None:
        """Stopping waits for what is under way, and the clock is left alone."""
        self.upkeep.start()
        stopping = Deferred.fromCoroutine(self.upkeep.stop())
        self.assertNoResult(stopping)
        self.database.settle()
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_begins_nothing(self) -> None:
        """A stop does not wait until all that is past its time is gone."""
        self.patch(retention, "_SLICE", 1)
        for number in range(50):
            self.store(b"%d" % number)
        self.clock.advance(RETENTION + 1)
        self.upkeep.start()
        while self.count("run") > 48:
            self.database.do()
            self.database.answer()
        self.done(self.upkeep.stop())
        self.assertGreater(self.count("run"), 45)

    def test_between_runs(self) -> None:
        """Between two runs it is at once, and no other comes."""
        self.begin()
        self.stop()
        before = self.database.attempts
        self.later(6_000)
        self.assertEqual(self.database.attempts, before)

    def test_not_started(self) -> None:
        """What was not started can be stopped."""
        self.done(self.upkeep.stop())

    def test_one_at_a_time(self) -> None:
        """A run that takes longer than the time to the next is not joined by it."""
        self.upkeep.start()
        self.clock.pump([600] * 5)
        before = self.database.attempts
        self.database.do()
        self.assertFalse(self.database.do())
        self.assertEqual(self.database.attempts, before + 1)
        self.stop()
