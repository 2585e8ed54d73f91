"""The command line and the configuration file."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simple_im import __version__
from simple_im.config import SETTINGS, Config, Options, config_from
from simple_im.media import MEBIBYTE


def parse(*arguments: str) -> Config:
    options = Options()
    options.parseOptions(arguments)
    return config_from(options)


class ConfigCase(SynchronousTestCase):
    def file(self, text: str) -> str:
        """The name of a configuration file that holds `text`."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def refusal(self, *arguments: str) -> str:
        """The sentence that ends the process where it is started with `arguments`."""
        code = self.assertRaises(SystemExit, parse, *arguments).code
        assert isinstance(code, str), code
        self.assertTrue(code.startswith("simple_im: "), code)
        self.assertNotIn("\n", code)
        return code

    def assert_refused(self, arguments: list[str], *words: str) -> None:
        sentence = self.refusal(*arguments)
        for word in words:
            self.assertIn(word, sentence)


class CommandLineTests(ConfigCase):
    def test_defaults(self) -> None:
        """Without options the node listens everywhere on 8080 and 1987, keeps ./priv, and entries for 7 days."""
        self.assertEqual(parse(), Config(Path.cwd() / "priv", 8080, 1987, "", None, 7 * 86_400))

    def test_default_limits(self) -> None:
        """Silent connections stay, groups have up to 500 members, and media 2, 10 and 100 MiB."""
        config = parse()
        self.assertEqual((config.idle_timeout, config.group_members), (0, 500))
        sizes = {"audio": 2 * MEBIBYTE, "image": 10 * MEBIBYTE, "video": 100 * MEBIBYTE}
        self.assertEqual(config.media_sizes, sizes)

    def test_every_option(self) -> None:
        """Each option has its say; days become seconds and the state directory absolute."""
        config = parse(
            *("--state", "here", "--http-port", "443", "--im-port", "0", "--interface", "::1"),
            *("--advertise", "im.example.org", "--retention-days", "0.5", "--idle-timeout", "90.5"),
            *("--group-members", "20", "--max-audio", "1", "--max-image", "20", "--max-video", "4096"),
        )
        sizes = {"audio": MEBIBYTE, "image": 20 * MEBIBYTE, "video": 4_096 * MEBIBYTE}
        expected = Config(Path.cwd() / "here", 443, 0, "::1", "im.example.org", 43_200.0, 90.5, 20, sizes)
        self.assertEqual(config, expected)

    def test_home(self) -> None:
        """A ~ that the shell left in place is the user's home."""
        self.assertEqual(parse("--state=~/im").state, Path.home() / "im")

    def test_both_ports_picked_by_the_system(self) -> None:
        """Port 0 for both doors is no clash: the system picks two."""
        config = parse("--http-port", "0", "--im-port", "0")
        self.assertEqual((config.http_port, config.im_port), (0, 0))

    def test_same_port_twice(self) -> None:
        """One port can't be both doors."""
        self.assert_refused(["--im-port", "8080"], "8080", "--http-port", "--im-port")

    def test_ports(self) -> None:
        """What is no port number is named, with the range that is good."""
        for wrong in ("70000", "65536", "-1", "80.0", "http", "8_0", " 80", "٨٠", "999999999999"):
            self.assert_refused([f"--http-port={wrong}"], f"--http-port {wrong}", "65535")
            self.assert_refused([f"--im-port={wrong}"], f"--im-port {wrong}", "65535")

    def test_retention(self) -> None:
        """Days are a positive number that somebody could mean."""
        for wrong in ("0", "-1", "nan", "inf", "36501", "week"):
            self.assert_refused(["--retention-days", wrong], f"--retention-days {wrong}", "36500")
        self.assertEqual(parse("--retention-days", "36500").retention, 36_500 * 86_400)

    def test_idle_timeout(self) -> None:
        """The time that a connection may be silent is 0, for ever, or up to a day."""
        for wrong in ("-1", "86401", "nan", "inf", "soon"):
            self.assert_refused([f"--idle-timeout={wrong}"], f"--idle-timeout {wrong}", "86400")
        for right in ("0", "0.5", "86400"):
            self.assertEqual(parse("--idle-timeout", right).idle_timeout, float(right))

    def test_group_members(self) -> None:
        """A group has two members or more, and whole ones."""
        for wrong in ("1", "0", "-5", "100001", "2.5", "nan", "inf", "many"):
            self.assert_refused([f"--group-members={wrong}"], f"--group-members {wrong}", "2 to 100000")
        for right in (2, 100_000):
            self.assertEqual(parse("--group-members", str(right)).group_members, right)

    def test_sizes(self) -> None:
        """The size of each kind of media is in whole MiB."""
        for kind in ("audio", "image", "video"):
            for wrong in ("0", "-1", "4097", "1.5", "nan", "inf", "2MB"):
                self.assert_refused([f"--max-{kind}={wrong}"], f"--max-{kind} {wrong}", "MiB from 1 to 4096")
            for right in (1, 4_096):
                self.assertEqual(parse(f"--max-{kind}", str(right)).media_sizes[kind], right * MEBIBYTE)

    def test_interface(self) -> None:
        """To listen on takes an address, not a name."""
        for wrong in ("localhost", "10.0.0", "[::1]", "127.0.0.1:80"):
            self.assert_refused(["--interface", wrong], f"--interface {wrong}", "IP address")
        self.assertEqual(parse("--interface", "0.0.0.0").interface, "0.0.0.0")

    def test_advertise(self) -> None:
        """Clients can be sent to names and addresses."""
        for right in ("im.example.org", "localhost", "xn--bcher-kva.example", "192.0.2.7", "2001:db8::1", "a" * 63):
            self.assertEqual(parse("--advertise", right).advertise, right)

    def test_advertise_of_nobody(self) -> None:
        """What no client could connect to is refused: a URL, a port, a zone, "every address", half an address."""
        for wrong in (
            *("https://im.example.org", "im.example.org:1987", "[::1]", "0.0.0.0", "::", "fe80::1%eth0", "1.2.3"),
            *("256.1.1.1", "-a.example", "a-.example", "a..b", "a.example.", "bücher.example", "a" * 64, "a_b"),
            "a." * 127 + "a",
        ):
            self.assert_refused([f"--advertise={wrong}"], f"--advertise {wrong}", "host name")

    def test_empty_values(self) -> None:
        """An empty value is as wrong as any other."""
        for name in (*(setting.name for setting in SETTINGS), "config"):
            self.assert_refused([f"--{name}", ""], f"--{name} ''")

    def test_unknown_option(self) -> None:
        """An option that does not exist is named, with the place to look for the right one."""
        self.assert_refused(["--htp-port", "80"], "--htp-port", "--help")
        self.assert_refused(["-x"], "-x", "--help")

    def test_option_without_value(self) -> None:
        """An option at the end that wants a value says so."""
        self.assert_refused(["--http-port"], "--http-port", "argument")

    def test_positional_arguments(self) -> None:
        """A word that is no option is named."""
        self.assert_refused(["8080"], "8080", "--name")

    def test_line_breaks_in_values(self) -> None:
        """A value with a line break in it leaves the sentence on one line."""
        self.assert_refused(["--advertise", "a\nb"], r"'a\nb'")
        self.assert_refused(["--a\nb"], r"\n")
        self.assert_refused(["a\nb"], r"'a\nb'")


class ConfigurationFileTests(ConfigCase):
    def test_every_key(self) -> None:
        """The file has the options' names with _ for -."""
        name = self.file(
            'state = "/srv/im"\nhttp_port = 443\nim_port = 0\ninterface = "127.0.0.1"\n'
            'advertise = "im.example.org"\nretention_days = 1.5\nidle_timeout = 0.5\ngroup_members = 2\n'
            "max_audio = 1\nmax_image = 2\nmax_video = 3\n"
        )
        sizes = {"audio": MEBIBYTE, "image": 2 * MEBIBYTE, "video": 3 * MEBIBYTE}
        expected = Config(Path("/srv/im"), 443, 0, "127.0.0.1", "im.example.org", 129_600, 0.5, 2, sizes)
        self.assertEqual(parse("--config", name), expected)

    def test_precedence(self) -> None:
        """The command line goes before the file, and the file before the defaults."""
        config = parse("--http-port", "3", "--config", self.file("http_port = 1\nim_port = 2\n"))
        self.assertEqual((config.http_port, config.im_port, config.retention), (3, 2, 7 * 86_400))

    def test_default_on_the_command_line(self) -> None:
        """A default that is said on the command line goes before the file too."""
        self.assertEqual(parse("--im-port", "1987", "--config", self.file("im_port = 2\n")).im_port, 1987)

    def test_ports_clash_across_both(self) -> None:
        """The two ports are compared wherever each comes from."""
        self.assert_refused(["--http-port", "5", "--config", self.file("im_port = 5\n")], "port 5")

    def test_missing_file(self) -> None:
        """A file that isn't there, or is a directory, is named."""
        self.assert_refused(["--config", "no/such.toml"], "no/such.toml", "No such file")
        self.assert_refused(["--config", "."], "--config .", "directory")

    def test_not_toml(self) -> None:
        """What is not TOML is refused with the place in the file."""
        self.assert_refused(["--config", self.file("http_port = 1\nim_port 2\n")], "not TOML", "line 2")

    def test_not_text(self) -> None:
        """Bytes that are no UTF-8 are refused as not TOML."""
        path = Path(self.mktemp())
        path.write_bytes(b"state = '\xff'\n")
        self.assert_refused(["--config", str(path)], str(path), "not TOML")

    def test_unknown_key(self) -> None:
        """A key that is no option is named, with those that are; so are dashes, and `config` itself."""
        for wrong in ("htp_port", "http-port", "config"):
            name = self.file(f"{wrong} = 1\n")
            self.assert_refused(["--config", name], f"{wrong} in {name}", "http_port, im_port")

    def test_wrong_types(self) -> None:
        """A value of the wrong type is refused with the type that it needs."""
        for text, words in (
            ('http_port = "8080"', "http_port = 8080 in {} has the wrong type: it has to be a whole number"),
            ("http_port = 1.0", "http_port = 1.0 in {} has the wrong type: it has to be a whole number"),
            ("im_port = true", "im_port = True in {} has the wrong type: it has to be a whole number"),
            ("state = 1", "state = 1 in {} has the wrong type: it has to be a string in quotes"),
            ("advertise = []", "advertise = [] in {} has the wrong type: it has to be a string in quotes"),
            ("retention_days = '7'", "retention_days = 7 in {} has the wrong type: it has to be a number"),
            ("max_audio = 2.0", "max_audio = 2.0 in {} has the wrong type: it has to be a whole number"),
            ("group_members = '2'", "group_members = 2 in {} has the wrong type: it has to be a whole number"),
            ("idle_timeout = '1'", "idle_timeout = 1 in {} has the wrong type: it has to be a number"),
            ("retention_days = false", "retention_days = False in {} has the wrong type: it has to be a number"),
            ("[interface]\na = 1", "interface = {{'a': 1}} in {} has the wrong type: it has to be a string in quotes"),
        ):
            name = self.file(text + "\n")
            self.assert_refused(["--config", name], words.format(name))

    def test_wrong_values(self) -> None:
        """A value out of its range is refused with key, value and file."""
        for text in (
            *("http_port = 70000", "im_port = -1", "retention_days = 0", "retention_days = inf"),
            *("idle_timeout = -0.5", "group_members = 1", "max_video = 4097", f"max_image = 1{'0' * 400}"),
        ):
            name = self.file(text + "\n")
            self.assert_refused(["--config", name], f"{text} in {name}")

    def test_empty_values(self) -> None:
        """An empty string in the file is no value."""
        for key in ("state", "interface", "advertise"):
            self.assert_refused(["--config", self.file(f'{key} = ""\n')], f"{key} = ''")

    def test_nul_in_the_state_directory(self) -> None:
        """A path that no system can have is refused."""
        self.assert_refused(["--config", self.file('state = "a\\u0000b"\n')], "state", "directory")

    def test_braces_in_the_name(self) -> None:
        """The file's name is said as it is, whatever is in it."""
        path = Path(self.mktemp() + "{x}")
        path.write_text("http_port = -5\n")
        self.assert_refused(["--config", str(path)], f"http_port = -5 in {path}")


class AnswerTests(SynchronousTestCase):
    def output(self, *arguments: str) -> str:
        stdout = io.StringIO()
        self.patch(sys, "stdout", stdout)
        self.assertEqual(self.assertRaises(SystemExit, parse, *arguments).code, 0)
        return stdout.getvalue()

    def test_version(self) -> None:
        """--version says name and version, and ends well."""
        self.assertEqual(self.output("--version"), f"simple_im {__version__}\n")

    def test_help(self) -> None:
        """--help has every option with its default, and ends well."""
        text = self.output("--help")
        for word in ("--state=", "8080", "1987", "--interface=", "--advertise=", "--config=", "--retention-days="):
            self.assertIn(word, text)
        for word in ("--idle-timeout=", "--group-members=", "--max-audio=", "--max-image=", "--max-video="):
            self.assertIn(word, text)
