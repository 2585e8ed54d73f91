"""Starting and stopping: what an operator sees."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from pathlib import Path
from shutil import rmtree

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from simple_im import __version__
from simple_im.tls import covers
from tests.integration.case import NodeCase
from tests.integration.node import PATIENCE, Node, twistd, until
from tests.test_listen import has_ipv6


def write_other_key(path: Path) -> None:
    """Put a good key there that belongs to no certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    form, protection = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, protection))


class WrongStartTests(NodeCase):
    """Each start with something wrong ends with one sentence that names it, not with a traceback."""

    def refusal(self, *options: str, cwd: Path | None = None) -> str:
        """What a start with these options says on stderr as it fails."""
        free_ports = ("--http-port", "0", "--im-port", "0")
        process = twistd("--pidfile=", "-n", "simple_im", *free_ports, *options, cwd=cwd or self.directory())
        output, errors = process.communicate(timeout=PATIENCE)
        self.assertNotEqual(process.returncode, 0)
        self.assertNotIn("Traceback", output + errors)
        sentence, *others = errors.splitlines()
        self.assertEqual(others, [])
        self.assertTrue(sentence.startswith("simple_im: "), sentence)
        return sentence

    def stopped_node(self) -> Node:
        """A node that has made its state and has ended."""
        node = self.own_node()
        node.stop()
        return node

    def test_port_out_of_range(self) -> None:
        """A port that there is not is named with the numbers that there are."""
        self.assertIn("--im-port 70000 is no port: give a number from 1 to 65535", self.refusal("--im-port", "70000"))

    def test_state_cannot_be_written(self) -> None:
        """A state directory that can't be made is named with the cure."""
        file = self.directory() / "file"
        file.touch()
        self.assertRegex(self.refusal("--state", f"{file}/state"), f"{file}/state can't be written .*--state DIR")

    def test_busy_port(self) -> None:
        """A port that another program has is named with the option to change it."""
        with socket.create_server(("0.0.0.0", 0)) as other:
            port = other.getsockname()[1]
            self.assertRegex(self.refusal("--im-port", str(port)), f"port {port} is in use already: .*--im-port")

    def test_state_of_another_process(self) -> None:
        """Two servers never share a state directory; the second is told which process has it."""
        node = self.own_node()
        self.assertIn(
            f"{node.directory}/priv is served by another process (pid {node.process.pid})",
            self.refusal(cwd=node.directory),
        )

    def test_unknown_key_in_config(self) -> None:
        """A key of the configuration file that is no option is named with the file and those that there are."""
        file = self.directory() / "im.toml"
        file.write_text('imports = "x"\n')
        self.assertRegex(self.refusal("--config", str(file)), f"imports in {file} is no option: there are .*im_port")

    def test_key_of_another_certificate(self) -> None:
        """A key that does not fit its certificate is named."""
        node = self.stopped_node()
        key = node.directory / "priv" / "ssl" / "server.key"
        write_other_key(key)
        self.assertIn(f"{key} does not fit the first certificate in", self.refusal(cwd=node.directory))

    def test_damaged_database(self) -> None:
        """A database that is none is named, and left as it is."""
        node = self.stopped_node()
        database = node.directory / "priv" / "simple_im.db"
        database.write_bytes(b"not a database" * 1_000)
        self.assertIn(f"the database {database} cannot be used", self.refusal(cwd=node.directory))
        self.assertEqual(database.read_bytes(), b"not a database" * 1_000)

    def test_lost_database(self) -> None:
        """A server that has lost its database does not become a new one, until its files are removed too."""
        node = self.stopped_node()
        state = node.directory / "priv"
        authority = node.ca.read_bytes()
        for lose in (Path.unlink, Path.touch):
            lose(state / "simple_im.db")
            sentence = self.refusal(cwd=node.directory)
            self.assertIn(f"the database {state}/simple_im.db is gone or empty, and files/ beside it shows", sentence)
        self.assertEqual((state / "simple_im.db").read_bytes(), b"")
        rmtree(state / "files")
        node.start()
        self.assertEqual(node.ca.read_bytes(), authority)

    def test_unknown_option(self) -> None:
        """An option that there is not is named."""
        self.assertIn("ports", self.refusal("--ports", "1"))


class StartTests(NodeCase):
    def test_log_lines(self) -> None:
        """There is one line a door, with the port, the certificate's fingerprint and the state directory."""
        node = self.own_node()
        state = str(node.directory / "priv")
        openssl = "openssl x509 -noout -fingerprint -sha256 -in priv/ssl/server.crt"
        fingerprint = os.popen(f"cd {node.directory} && {openssl}").read().strip().partition("=")[2]
        self.assertEqual(
            node.door_lines,
            [
                ("HTTPS", str(node.http_port), fingerprint, state),
                ("IM", str(node.im_port), fingerprint, state),
            ],
        )

    def test_interfaces(self) -> None:
        """Wherever its doors are, a node finds its own IM door when a client reports it."""
        for interface in ("127.0.0.1", "0.0.0.0", *(("::",) if has_ipv6() else ())):
            node = self.own_node("--interface", interface)
            token = node.new_user().sign_in("phone")
            answer = node.https().post("/server/failed", token=token)
            self.assertEqual(answer.row("response")["r"], "IM is online", interface)

    def test_advertised_address(self) -> None:
        """Clients are sent to the host of `--advertise`, and the certificate is good for it."""
        node = self.own_node("--advertise", "im.example.org")
        user = node.new_user()
        answer = node.https().post("/server/reconnect", {"id": user.id}, user.sign_in("phone"))
        self.assertEqual(answer.row("response")["server"], "im.example.org")
        certificate = x509.load_pem_x509_certificate((node.directory / "priv/ssl/server.crt").read_bytes())
        self.assertTrue(covers(certificate, "im.example.org"))

    def test_key_is_private(self) -> None:
        """What a server keeps in its state directory is for its user's eyes only."""
        node = self.own_node()
        for name in ("", "ssl/server.key", "ssl/cowboy-ca.key", "simple_im.db"):
            mode = stat.S_IMODE((node.directory / "priv" / name).stat().st_mode)
            self.assertEqual(mode & 0o077, 0, name)

    def test_version(self) -> None:
        """`--version` says the version and nothing else."""
        process = twistd("simple_im", "--version", cwd=self.directory())
        self.assertEqual(process.communicate(timeout=PATIENCE), (f"simple_im {__version__}\n", ""))
        self.assertEqual(process.returncode, 0)

    def test_daemon(self) -> None:
        """Without `-n` the server goes into the background with its lock and its sockets, and serves."""
        directory = self.directory()
        log, pid_file = directory / "log", directory / "pid"
        options = (f"--pidfile={pid_file}", f"--logfile={log}", "simple_im", "--http-port", "0", "--im-port", "0")
        process = twistd(*options, cwd=directory)
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0)
        node = Node(directory)
        until(lambda: log.exists() and "IM door" in log.read_text(), "the doors did not open")
        node.http_port = int(re.findall(r"HTTPS door on \S*:(\d+)", log.read_text())[0])
        self.assertEqual(node.https().get("/health").status, 200)
        self.end_daemon(int(pid_file.read_text()), pid_file)
        self.assertIn("Server Shut Down.", log.read_text())

    def end_daemon(self, pid: int, pid_file: Path) -> None:
        """The lock names the daemon, not the process that made it; SIGTERM ends it."""
        self.assertEqual(int((pid_file.parent / "priv" / "lock").read_text()), pid)
        os.kill(pid, signal.SIGTERM)
        until(lambda: not pid_file.exists(), "the daemon did not end")


class StopTests(NodeCase):
    def test_sigterm(self) -> None:
        """SIGTERM says `bye` to who is connected and ends with exit code 0, without an error in the log."""
        node = self.own_node()
        user = node.new_user()
        client = self.connect(user, "phone")
        stranger = self.stranger(node)
        node.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.rest(), [("bye", {"r": "shutdown"})])
        self.assertEqual(stranger.rest(), [("bye", {"r": "shutdown"})])
        client.close()
        stranger.close()
        self.assertEqual(node.wait(), 0)
        self.assertNotIn("Traceback", node.whole_log)

    def test_ctrl_c(self) -> None:
        """Ctrl-C does the same."""
        node = self.own_node()
        client = self.connect(node.new_user(), "phone")
        node.process.send_signal(signal.SIGINT)
        client.expect("bye", r="shutdown")
        client.close()
        self.assertEqual(node.wait(), 0)

    def test_impatient_operator(self) -> None:
        """A second SIGTERM changes nothing."""
        node = self.own_node()
        client = self.connect(node.new_user(), "phone")
        node.process.send_signal(signal.SIGTERM)
        client.expect("bye", r="shutdown")
        node.process.send_signal(signal.SIGTERM)
        client.close()
        self.assertEqual(node.wait(), 0)
        self.assertNotIn("Traceback", node.whole_log)

    def test_commits_finish(self) -> None:
        """What was acknowledged before the end is there after the next start, in order and once."""
        node = self.own_node()
        sender, reader = node.new_user(), node.new_user()
        reader.sign_in("phone")
        client = self.connect(sender, "phone")
        for number in range(300):
            client.send_message(reader.id, f"m{number}")
        node.process.send_signal(signal.SIGTERM)
        *acknowledged, end = client.rest()
        self.assertEqual(end, ("bye", {"r": "shutdown"}))
        client.close()
        self.assertEqual(node.wait(), 0)
        node.start()
        stored = [keys["id"] for keys in self.all_for(reader, self.connect(reader, "phone"))]
        self.assertEqual(stored[: len(acknowledged)], [keys["id"] for _, keys in acknowledged])
        self.assertEqual(stored, [f"m{number}" for number in range(len(stored))])

    def test_users_stay_across_a_restart(self) -> None:
        """A new start finds the accounts and the certificates of the last one."""
        node = self.own_node()
        user = node.new_user()
        authority = node.ca.read_bytes()
        node.stop()
        node.start()
        user.sign_in("phone")
        self.assertEqual(node.ca.read_bytes(), authority)
