"""Why a stream has ended for good: trying again would end the same way. The caller must act."""


class Stopped(Exception):
    """The server will not have this client as it is; `code` is the close code that it said."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class TokenRefused(Stopped):
    """4401: no token, or none that the server takes, and no other can be had."""


class Forbidden(Stopped):
    """4403: the token does not allow what is to be watched."""


class Misunderstood(Stopped):
    """4400: the server cannot read what this client says. One of the two is too old."""


class WrongAddress(Stopped):
    """Something else answers there, and always did; `code` is the HTTP status that it said."""


class RequestRefused(Stopped):
    """What is to be watched was answered with an error, such as `bad_watch`."""

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.error = error
        """The contract's name of it."""
