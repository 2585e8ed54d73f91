"""Every status and reason that a client can be told, and the exceptions that carry them."""

from __future__ import annotations

from typing import Final

# Reasons on the IM door (`r` in `rr`).
TOKEN_ERROR: Final = "token error"
LOGIN_REQUIRED: Final = "login required"
ALREADY_LOGGED_IN: Final = "already logged in"
NO_SUCH_USER: Final = "no such user"
NO_SUCH_GROUP: Final = "no such group"
NOT_A_MEMBER: Final = "not a member"
TOO_LARGE: Final = "too large"
STORAGE_UNAVAILABLE: Final = "storage unavailable"
UNKNOWN_ERROR: Final = "unknown error"

# Reasons in `bye`.
BYE_REPLACED: Final = "replaced"
BYE_REVOKED: Final = "revoked"
BYE_SHUTDOWN: Final = "shutdown"
BYE_SLOW: Final = "slow"
BYE_IDLE: Final = "idle"
BYE_ERROR: Final = "error"


class Refused(Exception):
    """A request that is answered with a reason, whichever door it came in by."""

    http: int = 400
    status: int = 3
    reason: str = "Bad Request"

    def __init__(self, reason: str | None = None, headers: dict[str, str] | None = None) -> None:
        if reason is not None:
            self.reason = reason
        self.headers = headers or {}
        super().__init__(self.reason)


class BadRequest(Refused):
    """A parameter is missing or wrong; the reason says which and how."""


class ImIsOnline(Refused):
    """The node that was reported as failed answers."""

    http, status, reason = 200, 3, "IM is online"


class TokenError(Refused):
    """There is no token, or it is not good any more, or it is another user's."""

    http, status, reason = 401, 1, "Token Error"


class Mismatch(Refused):
    """The phone is unknown or the password is wrong; nobody is told which."""

    http, status, reason = 401, 1, "Mismatch"


class NotFound(Refused):
    """There is nothing at this path."""

    http, status, reason = 404, 404, "Not Found"


class MethodNotAllowed(Refused):
    """The path is there and the method is not; `Allow` names those that are."""

    http, status, reason = 405, 405, "Method Not Allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(headers={"Allow": allowed})


class UserExists(Refused):
    """The phone is taken."""

    http, status, reason = 409, 1, "User Exist"


class TooManyDevices(Refused):
    """The user has as many devices as a user may have."""

    http, status, reason = 409, 1, "Too Many Devices"


class TooLarge(Refused):
    """The body is over its limit."""

    http, status, reason = 413, 3, "Too Large"


class TooManyRequests(Refused):
    """More work is waiting than may wait; `Retry-After` says when to come back."""

    http, status, reason = 429, 4, "Too Many Requests"

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__(headers={"Retry-After": str(retry_after)})


class NoServer(Refused):
    """No node can take the client."""

    http, status, reason = 503, 2, "No IM server"


class StorageUnavailable(Refused):
    """The database did not take it; nothing was stored."""

    http, status, reason = 503, 2, "Storage unavailable"


class UnknownError(Refused):
    """A fault of ours; `error` is the id under which the log has it."""

    http, status, reason = 500, 2, "Unknown Error"


class Forbidden(Refused):
    """It is there, and not for this user to do or see."""

    http, status, reason = 403, 1, "Unauthorized"


class ContactExists(Refused):
    """The two are contacts already."""

    http, status, reason = 409, 1, "Contact exists"


class WaitingForAccept(Refused):
    """The user has asked already and was not answered."""

    http, status, reason = 409, 1, "Waiting for accept"


class MemberExists(Refused):
    """The user is in the group already."""

    http, status, reason = 409, 1, "Member exists"


class GroupFull(Refused):
    """The group has as many members as a group may have."""

    http, status, reason = 409, 1, "Group is full"
