"""Makes `twistd simple_im` known to Twisted."""

from twisted.application.service import ServiceMaker

simple_im = ServiceMaker(
    "simple_im",
    "simple_im.service",
    "An instant-messaging server: accounts over HTTPS, messages over TLS.",
    "simple_im",
)
