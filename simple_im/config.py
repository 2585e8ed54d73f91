"""The command line and the configuration file, checked: what is wrong is said in one sentence."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from twisted.python import usage

from simple_im import __version__
from simple_im.limits import DAY
from simple_im.media import DEFAULT_SIZES, KINDS, MEBIBYTE

RETENTION_DAYS_LIMIT: Final = 36_500
MEBIBYTES_LIMIT: Final = 4_096
MEMBERS_LIMIT: Final = 100_000
HOST_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)", re.ASCII)


class StartError(Exception):
    """The server can't start; the message is one sentence with the wrong value and the cure."""


@dataclass(frozen=True)
class Config:
    """What a node is told at its start."""

    state: Path
    """The state directory, absolute."""
    http_port: int
    im_port: int
    interface: str
    """The address to listen on; "" is every address of the machine."""
    advertise: str | None
    """The host that clients are told to connect to, where it is not the one they asked."""
    retention: float
    """How long an entry waits for a device, in seconds."""
    idle_timeout: float = 0
    """The seconds after which a silent IM connection is closed; 0 is never."""
    group_members: int = 500
    media_sizes: Mapping[str, int] = field(default_factory=lambda: DEFAULT_SIZES)
    """The largest file of each kind, in bytes."""


@dataclass(frozen=True)
class Given:
    """A value with the place it comes from, for the sentence that refuses it."""

    value: Any
    place: str

    def __str__(self) -> str:
        return self.place.format(shown(self.value))


def shown(value: object) -> str:
    """`value` as it can stand in a sentence of one line."""
    text = str(value)
    return text if text.isprintable() and text else repr(text)


def directory(given: Given) -> str:
    if not given.value or "\0" in given.value:
        raise StartError(f"{given} names no directory: give the one that the server may keep its state in")
    return str(os.path.abspath(os.path.expanduser(given.value)))


def port(given: Given) -> int:
    text = str(given.value)
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise StartError(f"{given} is no port: give a number from 1 to 65535, or 0 to have the system pick one")
    return int(text)


def interface(given: Given) -> str:
    if not is_address(given.value):
        raise StartError(
            f"{given} is no IP address: give one of this machine, or leave it out to listen on all of them"
        )
    return str(given.value)


def advertise(given: Given) -> str:
    if not is_host(given.value):
        raise StartError(
            f"{given} is neither a host name nor an IP address that clients can reach: "
            "give one of the two, without port or brackets"
        )
    return str(given.value)


def days(given: Given) -> float:
    try:
        number = float(given.value)
    except (ValueError, OverflowError):
        number = 0
    if not 0 < number <= RETENTION_DAYS_LIMIT:
        raise StartError(
            f"{given} is no number of days to keep messages for: "
            f"give one above 0 and up to {RETENTION_DAYS_LIMIT}, such as 7 or 0.5"
        )
    return number


def seconds(given: Given) -> float:
    return _number(given, 0, DAY, "number of seconds: give one from 0, for never, to 86400")


def mebibytes(given: Given) -> int:
    return int(_number(given, 1, MEBIBYTES_LIMIT, f"size: give whole MiB from 1 to {MEBIBYTES_LIMIT}", whole=True))


def members(given: Given) -> int:
    return int(_number(given, 2, MEMBERS_LIMIT, f"size of a group: give one from 2 to {MEMBERS_LIMIT}", whole=True))


def _number(given: Given, least: float, most: float, wanted: str, *, whole: bool = False) -> float:
    """A number within limits; `wanted` goes on the sentence "… is no" for any other."""
    try:
        number = float(given.value)
    except (ValueError, OverflowError):
        number = least - 1
    if not least <= number <= most or (whole and number != int(number)):
        raise StartError(f"{given} is no {wanted}")
    return number


def is_address(text: str) -> bool:
    """Whether `text` is an IP address, written as IPv4 or IPv6 is."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_host(text: str) -> bool:
    """Whether a client elsewhere could connect to `text`: a host name, or an address without a zone."""
    if is_address(text):
        return "%" not in text and not ipaddress.ip_address(text).is_unspecified
    return is_host_name(text)


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name as RFC 1123 section 2.1 has it; one that ends in a number is a bad address."""
    labels = text.split(".")
    return len(text) <= 253 and all(map(HOST_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


@dataclass(frozen=True)
class Setting:
    """An option of the command line, which is a key of the configuration file too."""

    name: str
    default: Any
    types: tuple[type, ...]
    """What a TOML value for it may be."""
    check: Callable[[Given], Any]
    help: str

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")

    def parameter(self) -> list[Any]:
        """The setting as `usage.Options` wants it; None stands for "not given", so the help names the default."""
        return [self.name, None, None, self.help]


SETTINGS: Final = (
    Setting("state", "priv", (str,), directory, "Directory for keys, database and media [default: priv]"),
    Setting("http-port", 8080, (int,), port, "Port of the HTTPS door; 0: the system picks one [default: 8080]"),
    Setting("im-port", 1987, (int,), port, "Port of the IM door; 0: the system picks one [default: 1987]"),
    Setting("interface", "", (str,), interface, "IP address to listen on [default: all of this machine]"),
    Setting("advertise", None, (str,), advertise, "Host that clients are told to connect to [default: the one asked]"),
    Setting("idle-timeout", 0, (int, float), seconds, "Seconds until a silent connection is closed [default: never]"),
    Setting("group-members", 500, (int,), members, "How many members a group may have [default: 500]"),
    Setting("max-audio", 2, (int,), mebibytes, "Size of an audio file, in MiB [default: 2]"),
    Setting("max-image", 10, (int,), mebibytes, "Size of an image, in MiB [default: 10]"),
    Setting("max-video", 100, (int,), mebibytes, "Size of a video, in MiB [default: 100]"),
    Setting("retention-days", 7, (int, float), days, "Days that a message waits for a device [default: 7]"),
)


class Options(usage.Options):
    """The options of `twistd simple_im`; after `parseOptions` every one of them has a checked value."""

    synopsis = "[options]"
    longdesc = (
        "Serves accounts over HTTPS and messages over TLS. At the first start it makes its certificates and its "
        "database in the state directory. The file of --config is TOML and has the options without their dashes "
        "in front and with '_' for '-', such as http_port = 8080; what the command line says goes before it."
    )
    optParameters = [
        *(setting.parameter() for setting in SETTINGS),
        ["config", None, None, "TOML file with these options"],
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Ends the process with one sentence where anything is wrong; twistd would print the whole help instead."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            raise SystemExit(f"simple_im: {shown(error)}: `twistd simple_im --help` lists the options") from None
        except StartError as error:
            raise SystemExit(f"simple_im: {error}") from None

    def parseArgs(self, *args: str) -> None:
        if args:
            raise StartError(f"{shown(args[0])} is not an option: leave it out, or put its option's --name before it")

    def postOptions(self) -> None:
        given = {**file_values(self["config"]), **self._command_line()}
        for setting in SETTINGS:
            self[setting.name] = setting.check(given[setting.name]) if setting.name in given else setting.default
        self["state"] = os.path.abspath(self["state"])
        check_ports(self["http-port"], self["im-port"])

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"simple_im {__version__}\n")
        raise SystemExit(0)

    def opt_help(self) -> None:
        """Print this help and exit."""
        sys.stdout.write(f"{self}\n")
        raise SystemExit(0)

    def _command_line(self) -> dict[str, Given]:
        return {
            setting.name: Given(self[setting.name], f"--{setting.name} {{}}")
            for setting in SETTINGS
            if self[setting.name] is not None
        }


def check_ports(http_port: int, im_port: int) -> None:
    if http_port == im_port != 0:
        raise StartError(
            f"port {http_port} can't be both --http-port and --im-port: give one of the two another number"
        )


def file_values(name: str | None) -> dict[str, Given]:
    """What the configuration file `name` says, by option; nothing where there is none."""
    return {} if name is None else dict(_known_values(name, _read_toml(name)))


def _read_toml(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(name).read_text("utf-8"))
    except OSError as error:
        raise StartError(f"--config {shown(name)} can't be read ({error.strerror}): give a file that can") from None
    except (ValueError, RecursionError) as error:
        raise StartError(f"--config {shown(name)} is not TOML ({shown(error)}): mend it there") from None


def _known_values(name: str, document: dict[str, Any]) -> Iterator[tuple[str, Given]]:
    settings = {setting.key: setting for setting in SETTINGS}
    place = shown(name).replace("{", "{{").replace("}", "}}")
    for key, value in document.items():
        if key not in settings:
            raise StartError(f"{shown(key)} in {shown(name)} is no option: there are {', '.join(settings)}")
        given = Given(value, f"{key} = {{}} in {place}")
        if type(value) not in settings[key].types:
            raise StartError(f"{given} has the wrong type: it has to be {_in_words(settings[key].types)}")
        yield settings[key].name, given


def _in_words(types: tuple[type, ...]) -> str:
    if str in types:
        return "a string in quotes"
    return "a number without quotes" if float in types else "a whole number without quotes"


def config_from(options: Options) -> Config:
    """The configuration that parsed `options` describe."""
    return Config(
        state=Path(options["state"]),
        http_port=options["http-port"],
        im_port=options["im-port"],
        interface=options["interface"],
        advertise=options["advertise"],
        retention=float(options["retention-days"] * DAY),
        idle_timeout=float(options["idle-timeout"]),
        group_members=options["group-members"],
        media_sizes={kind: options[f"max-{kind}"] * MEBIBYTE for kind in KINDS},
    )
