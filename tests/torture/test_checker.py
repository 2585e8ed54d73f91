"""The checker sees what it is there to see: histories with one thing wrong, and the same without it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.torture.checker import Verdict, judge
from benchmarks.torture.history import (
    Acked,
    Answered,
    Event,
    Fault,
    Forgetting,
    Forgotten,
    History,
    Known,
    Missing,
    Opened,
    Received,
    Refused,
    Requested,
    Sent,
    Settled,
)

ANN, BOB, TAB = "1/phone", "2/phone", "2/tablet"


def sent(number: int, device: str = ANN, conn: int = 10, users: tuple[int, ...] = (2,)) -> Sent:
    return Sent(device, conn, f"{device}#{number}", f"id-{number}", users)


def answered(number: int, device: str = ANN, conn: int = 10) -> Answered:
    return Answered(device, conn, f"{device}#{number}")


def received(
    seq: int, number: int, device: str = BOB, conn: int = 20, sender: str = ANN, dup: bool = False
) -> Received:
    return Received(device, conn, seq, f"{sender}#{number}", sender, f"id-{number}", dup)


def im(device: str, conn: int, life: int = 1, final: bool = False) -> Opened:
    return Opened(device, conn, "im", life, final)


def get(device: str, conn: int, life: int = 1, final: bool = False) -> Opened:
    return Opened(device, conn, "get", life, final)


START: list[Event] = [Known(ANN), Known(BOB), Known(TAB), im(ANN, 10), im(BOB, 20), im(TAB, 30)]


def everything(device: str, conn: int, *entries: tuple[int, int], life: int = 9) -> list[Event]:
    """The last connection of a device, with entries by seq and number."""
    return [im(device, conn, life, True), *(received(seq, number, device, conn) for seq, number in entries)]


class CheckerCase(SynchronousTestCase):
    def judge(self, *events: Event) -> Verdict:
        return judge([*START, *events])

    def assert_good(self, *events: Event) -> Verdict:
        verdict = self.judge(*events)
        self.assertEqual((verdict.lost, verdict.disordered, verdict.doubled), ([], [], []))
        return verdict

    def assert_lost(self, *events: Event) -> None:
        verdict = self.judge(*events)
        self.assertTrue(verdict.lost)
        self.assertEqual((verdict.disordered, verdict.doubled), ([], []))

    def assert_disordered(self, *events: Event) -> None:
        verdict = self.judge(*events)
        self.assertTrue(verdict.disordered)
        self.assertEqual((verdict.lost, verdict.doubled), ([], []))

    def assert_doubled(self, *events: Event) -> None:
        verdict = self.judge(*events)
        self.assertTrue(verdict.doubled)
        self.assertEqual((verdict.lost, verdict.disordered), ([], []))


class LossTests(CheckerCase):
    """What was acknowledged has to come."""

    def test_sound(self) -> None:
        """A message that was acknowledged and came to both devices is no loss; it is counted."""
        verdict = self.assert_good(
            sent(1), answered(1), *everything(BOB, 21, (1, 1)), *everything(TAB, 31, (1, 1))
        )
        self.assertEqual((verdict.acknowledged, verdict.received, verdict.connections), (1, 2, 5))

    def test_never_came(self) -> None:
        """It came to one device of the user and not to the other."""
        self.assert_lost(sent(1), answered(1), *everything(BOB, 21, (1, 1)), *everything(TAB, 31))

    def test_unacknowledged_send(self) -> None:
        """What was not answered may be lost."""
        self.assert_good(sent(1), *everything(BOB, 21), *everything(TAB, 31))

    def test_sender_s_other_devices(self) -> None:
        """The sender's other devices have to get it, the sending one need not."""
        bob = sent(1, BOB, 20, (1,))
        came = Received(ANN, 11, 1, f"{BOB}#1", BOB, "id-1", False)
        self.assert_lost(bob, answered(1, BOB, 20), im(ANN, 11, 9, True), came)
        to_tab = Received(TAB, 31, 1, f"{BOB}#1", BOB, "id-1", False)
        self.assert_good(bob, answered(1, BOB, 20), im(ANN, 11, 9, True), came, im(TAB, 31, 9, True), to_tab)

    def test_unknown_device(self) -> None:
        """A device that signed in after the message was sent is owed nothing."""
        late = Known("2/late")
        entries = [*everything(BOB, 21, (1, 1)), *everything(TAB, 31, (1, 1))]
        self.assert_good(sent(1), late, answered(1), *entries)
        self.assert_lost(late, sent(1), answered(1), *entries)

    def test_not_redelivered(self) -> None:
        """What came, and was not acknowledged by the device, is among the last that it takes."""
        events = [sent(1), received(1, 1), received(1, 1, TAB, 30), answered(1), *everything(TAB, 31, (1, 1))]
        self.assert_lost(*events, *everything(BOB, 21))
        self.assert_good(*events, Acked(BOB, 20, 1, ""), *everything(BOB, 21))
        self.assert_good(*events, Acked(BOB, 20, 0, "id-1"), *everything(BOB, 21))

    def test_acknowledgement_of_another(self) -> None:
        """An acknowledgement covers what it names: not a later seq, not another id."""
        both = [sent(1), sent(2), received(1, 1), received(2, 2), answered(1), answered(2)]
        events = [*both, *everything(TAB, 31, (1, 1), (2, 2))]
        self.assert_lost(*events, Acked(BOB, 20, 1, ""), *everything(BOB, 21))
        self.assert_lost(*events, Acked(BOB, 20, 0, "id-2"), *everything(BOB, 21))
        self.assert_good(*events, Acked(BOB, 20, 2, ""), *everything(BOB, 21))

    def test_deleted_too_much(self) -> None:
        """A DELETE takes what its GETs have shown, and not what came after."""
        shown = [get(BOB, 40), received(1, 1, BOB, 40), Forgetting(BOB, (40,)), Forgotten(BOB, (40,), 1)]
        events = [sent(1), answered(1), *shown]
        self.assert_good(*events, *everything(TAB, 31, (1, 1)), *everything(BOB, 21))
        later = [*events, sent(2), answered(2), *everything(TAB, 31, (1, 1), (2, 2))]
        self.assert_lost(*later, *everything(BOB, 21))

    def test_only_shown(self) -> None:
        """An acknowledgement by seq does not take what a GET has shown, unless it may have been sent as well: there
        was a login on the IM door between the server's start, the message, and the GET."""
        made = [Fault("kill", 1), im(ANN, 12, 2), sent(1, ANN, 12), answered(1, ANN, 12)]
        shown = [get(BOB, 40, 2), received(1, 1, BOB, 40)]
        acked = [im(BOB, 22, 2), Acked(BOB, 22, 9, ""), *everything(TAB, 31, (1, 1)), *everything(BOB, 23)]
        self.assert_lost(*made, *shown, *acked)
        self.assert_good(*made, im(BOB, 21, 2), *shown, *acked)
        self.assert_good(sent(1), answered(1), Fault("kill", 1), *shown, *acked)

    def test_altered(self) -> None:
        """What comes is from whom it was sent, under the id that it was sent with."""
        entries = [sent(1), answered(1), *everything(TAB, 31, (1, 1)), im(BOB, 21, 9, True)]
        self.assert_good(*entries, Received(BOB, 21, 1, f"{ANN}#1", ANN, "id-1", False))
        self.assert_lost(*entries, Received(BOB, 21, 1, f"{ANN}#1", TAB, "id-1", False))
        self.assert_lost(*entries, Received(BOB, 21, 1, f"{ANN}#1", ANN, "id-2", False))

    def test_foreign(self) -> None:
        """Nothing comes that nobody sent, unless the server makes it for a request that was not answered."""
        self.assert_lost(Received(BOB, 20, 1, f"{ANN}#7", ANN, "id-7", False))
        self.assert_good(Requested(ANN, 12), Received(BOB, 20, 1, "file/image/x.png", ANN, "x", False))

    def test_request(self) -> None:
        """A request that was answered is a promise to those who were known when it was made."""
        made = Sent(ANN, 12, "group:3", "", (2,))
        came = [Received(device, conn, 1, "group:3", ANN, "x", False) for device, conn in ((BOB, 20), (TAB, 30))]
        self.assert_lost(Requested(ANN, 12), made, Answered(ANN, 12, "group:3"), came[0], Acked(BOB, 20, 1, ""))
        late = [Requested(ANN, 12), Known("2/late"), made, Answered(ANN, 12, "group:3")]
        self.assert_good(*late, *came, Acked(BOB, 20, 1, ""), Acked(TAB, 30, 1, ""))

    def test_missing_file(self) -> None:
        """A file that is gone is a loss."""
        self.assert_lost(Missing(BOB, "file/image/x.png"))

    def test_refusals(self) -> None:
        """A refusal because of the disk is no loss, any other is one."""
        self.assert_good(sent(1), Refused(ANN, f"{ANN}#1", "storage unavailable"))
        self.assert_lost(sent(1), Refused(ANN, f"{ANN}#1", "no such user"))


class DoubleTests(CheckerCase):
    """Nothing comes twice."""

    def twice(self, first: Received, again: Received, *between: Event) -> list[Event]:
        rest = [Acked(BOB, 20, 9, ""), Acked(BOB, 22, 9 << 32, ""), Acked(TAB, 30, 9, "")]
        return [sent(1), received(1, 1, TAB, 30), first, answered(1), *between, again, *rest]

    def test_redelivered(self) -> None:
        """The same entry on a later connection is not twice."""
        self.assert_good(*self.twice(received(1, 1), received(1, 1, conn=22), im(BOB, 22)))

    def test_two_entries(self) -> None:
        """Two entries of one message are, also where the second says `dup`."""
        self.assert_doubled(*self.twice(received(1, 1), received(2, 1)))
        self.assert_doubled(*self.twice(received(1, 1), received(2, 1, dup=True)))

    def test_after_a_crash(self) -> None:
        """A crash may have taken what was shown: then it may come again, and has to say so."""
        crash = [Fault("kill", 1), im(BOB, 22, 2)]
        self.assert_good(*self.twice(received(1, 1), received(2, 1, conn=22, dup=True), *crash))
        self.assert_doubled(*self.twice(received(1, 1), received(2, 1, conn=22), *crash))

    def test_stored_and_taken_again(self) -> None:
        """Where the first is still there after the crash, the second is one too many."""
        crash = [Fault("kill", 1), im(BOB, 22, 2), received(1, 1, conn=22)]
        self.assert_doubled(*self.twice(received(1, 1), received(2, 1, conn=22, dup=True), *crash))

    def test_after_a_failure_of_the_disk(self) -> None:
        """A disk that was full or failed may have refused what was shown."""
        for kind in ("full", "sync"):
            self.assert_good(*self.twice(received(1, 1), received(2, 1, dup=True), Fault(kind, 1)))
        self.assert_doubled(*self.twice(received(1, 1), received(2, 1, dup=True), Fault("stop", 1)))
        self.assert_doubled(*self.twice(received(1, 1), received(2, 1, dup=True), Fault("full", 3)))

    def test_shown_and_refused_again(self) -> None:
        """After the first failure nothing is shown before it is stored: a third entry is one too many."""
        again = [received(2, 1, dup=True), received(3, 1, dup=True)]
        self.assert_doubled(*self.twice(received(1, 1), again[1], Fault("full", 1), again[0]))

    def test_forgotten(self) -> None:
        """What a DELETE has surely taken does not come again: what a GET has shown since the last crash."""
        shown = [get(BOB, 40), received(1, 1, BOB, 40), Forgetting(BOB, (40,))]
        events = [sent(1), answered(1), received(1, 1, TAB, 30), Acked(TAB, 30, 1, ""), *shown]
        again = [im(BOB, 22, 2), received(1, 1, conn=22)]
        self.assert_good(*events, *again)
        self.assert_good(*events, Forgotten(BOB, (40,), 2), *again)
        self.assert_doubled(*events, Forgotten(BOB, (40,), 1), *again)

    def test_acknowledged(self) -> None:
        """Nor does what a device acknowledged before it sent what is stored."""
        events = [sent(1), answered(1), received(1, 1, TAB, 30), Acked(TAB, 30, 1, ""), received(1, 1)]
        mine = sent(1, BOB, 20, (2,))
        to_tab = [Received(TAB, 30, 2, f"{BOB}#1", BOB, "id-1", False), Acked(TAB, 30, 2, "")]
        again = [*to_tab, im(BOB, 22, 2), received(1, 1, conn=22)]
        acked = Acked(BOB, 20, 1, "")
        self.assert_good(*events, acked, mine, *again)
        self.assert_good(*events, mine, acked, answered(1, BOB, 20), *again)
        self.assert_doubled(*events, acked, mine, answered(1, BOB, 20), *again)
        self.assert_doubled(*events, Acked(BOB, 20, 0, "id-1"), mine, answered(1, BOB, 20), *again)

    def test_settled(self) -> None:
        """Nor does what was acknowledged a while ago, though nothing was sent since."""
        events = [sent(1), answered(1), received(1, 1, TAB, 30), Acked(TAB, 30, 1, ""), received(1, 1)]
        again = [im(BOB, 22, 2), received(1, 1, conn=22)]
        self.assert_good(*events, Settled(BOB, 20), Acked(BOB, 20, 1, ""), *again)
        self.assert_doubled(*events, Acked(BOB, 20, 1, ""), Settled(BOB, 20), *again)

    def test_sent_before_a_crash(self) -> None:
        """What a seq covers is not sure where it was sent before a crash, and only shown since."""
        events = [sent(1), answered(1), received(1, 1, TAB, 30), Acked(TAB, 30, 1, ""), received(1, 1)]
        crash = [Fault("kill", 1), im(BOB, 22, 2), Acked(BOB, 22, 9, ""), Settled(BOB, 22)]
        self.assert_good(*events, *crash, im(BOB, 23, 3), received(1, 1, conn=23))


class OrderTests(CheckerCase):
    """Numbers grow and stand for one message; senders' messages keep their order."""

    def three(self, *seqs: int, conn: int = 20) -> list[Event]:
        """Three messages that came with these numbers, and were acknowledged by all."""
        messages = [event for number in (1, 2, 3) for event in (sent(number), answered(number))]
        came = sorted(zip(seqs, (1, 2, 3), strict=True))
        both = [event for seq, number in came for event in (received(seq, number), received(seq, number, TAB, 30))]
        return [*messages, *both, Acked(BOB, 20, max(seqs), ""), Acked(TAB, 30, max(seqs), "")]

    def test_in_order(self) -> None:
        """As they were sent: good."""
        self.assert_good(*self.three(5, 8, 9))

    def test_swapped(self) -> None:
        """Two of a sender in each other's place."""
        self.assert_disordered(*self.three(8, 5, 9))

    def test_resent(self) -> None:
        """One that was sent again may stand where it was sent first, or again."""
        again = sent(1)
        for seqs in ((5, 8, 9), (9, 5, 8), (8, 5, 9)):
            one, acked, *rest = self.three(*seqs)
            self.assert_good(one, *rest[:4], again, acked, *rest[4:])

    def test_seq_goes_back(self) -> None:
        """A number below one that came before on the same connection."""
        other = Received(BOB, 20, 4, "1/web#1", "1/web", "x", False)
        there = Received(TAB, 30, 10, "1/web#1", "1/web", "x", False)
        events = [sent(1, "1/web", 13), *self.three(5, 8, 9)]
        acked = [Acked(BOB, 20, 10, ""), Acked(TAB, 30, 10, "")]
        self.assert_good(*events, Received(BOB, 20, 10, "1/web#1", "1/web", "id-1", False), *acked)
        verdict = self.judge(*events, other._replace(id="id-1"), there._replace(id="id-1"), *acked)
        self.assertIn("2/phone: seq 4 after 9", verdict.disordered)

    def test_seq_used_twice(self) -> None:
        """A number that stood for another message, also one that was only shown before a crash."""
        lost: list[Event] = [sent(4), received(10, 4), Fault("kill", 1), im(BOB, 22, 2)]
        new: list[Event] = [sent(5), answered(5), received(10, 5, TAB, 30), received(10, 5, conn=22)]
        acked: list[Event] = [Acked(TAB, 30, 10, ""), Acked(BOB, 22, 10, "")]
        self.assert_disordered(*self.three(5, 8, 9), *lost, *new, *acked)


class HistoryTests(SynchronousTestCase):
    """A history on disk."""

    def test_saved(self) -> None:
        """It is the same when it is read again."""
        path = Path(self.mktemp())
        history = History(
            [*START, sent(1), received(1, 1), Acked(BOB, 20, 1, ""), Forgotten(BOB, (1, 2), 1), Fault("kill", 1)]
        )
        history.save(path)
        self.assertEqual(History.load(path), history)
