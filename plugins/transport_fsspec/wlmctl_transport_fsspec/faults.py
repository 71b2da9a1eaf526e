"""What an error of fsspec or of one of its backends means, as one of the transport's errors.

The backends' own exceptions are told by their names: which library raises them depends on the URL, and none of them
is imported for this.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from wlmctl.errors import Broken, Denied, LoginRefused, NoSpace, NotFound, TransportError, Unreachable

_AWAY = {
    "ClientConnectorError", "ClientConnectorDNSError", "ClientConnectorCertificateError", "ClientConnectorSSLError",
    "EndpointConnectionError", "ConnectTimeoutError", "ConnectionTimeoutError", "ConnectionRefusedError", "gaierror",
}  # fmt: skip
_NO_LOGIN = {
    "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401",
}  # fmt: skip
_FULL = {"QuotaExceeded", "XMinioStorageFull", "507"}
_REFUSED = (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError, NotImplementedError)


def error_for(machine: str, path: str, error: BaseException) -> TransportError:
    """The error that ``error``, raised about ``path`` of ``machine``, stands for."""
    chain = list(_causes(error))
    words = {word for each in chain for word in _words(each)}
    text = _text(chain[-1])
    if words & _AWAY:
        return Unreachable(f"machine {machine}: the store cannot be reached: {text}")
    if words & _NO_LOGIN:
        return LoginRefused(f"machine {machine}: the store refuses the login: {text}")
    if words & _FULL or any(getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for each in chain):
        return NoSpace(f"{path}: no space left in the store")
    if "403" in words or any(isinstance(each, _REFUSED) for each in chain):
        return Denied(f"{path}: the store refused it: {text}")
    if isinstance(error, FileNotFoundError) and not {word for word in words if word.isdigit()} - {"404", "410"}:
        return NotFound(f"{path}: no such file or folder")
    return Broken(f"{path}: {text}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__


def _words(error: BaseException) -> Iterator[str]:
    """The names of its kinds, and what code the server gave."""
    yield from (kind.__name__ for kind in type(error).__mro__)
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        yield str(response.get("Error", {}).get("Code", ""))
    status = getattr(error, "status", None)
    if isinstance(status, int):  # aiohttp's
        yield str(status)


def _text(error: BaseException) -> str:
    """Its message in a line; without the URL, which may hold a token."""
    status, message = getattr(error, "status", None), getattr(error, "message", None)
    if isinstance(status, int) and message:
        return f"{message} ({status})"
    return " ".join(str(error).split()) or type(error).__name__
