"""What pika says went wrong, in words for a user: is it worth waiting, or does the broker refuse?"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from pika import exceptions

from wlmctl.broker.rabbitmq.settings import Address

#: Connection.Close 530 (NOT_ALLOWED) says these things when waiting does not help; a connection limit it says too.
_NO_VHOST = re.compile(r"vhost .* not found|access to vhost .* refused for user", re.IGNORECASE)
_REPLY = re.compile(r"\((\d+)\),? (['\"])(.*)\2", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """One failure to connect, or the end of a connection."""

    text: str
    is_refusal: bool = False


def connection_fault(error: BaseException | None, address: Address) -> Fault:
    """What an error of a connection, or of an attempt, means."""
    user, vhost = address.user, address.vhost
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return Fault(f"TLS refused: {_tls_text(cause)}", is_refusal=True)
        if isinstance(cause, exceptions.AuthenticationError):
            return Fault(f"login refused: wrong password for user {user!r}, or no such user", is_refusal=True)
    text = " ".join(map(repr, causes))
    if address.is_tls and ("CERTIFICATE_REQUIRED" in text or "alert" in text.lower()):
        return Fault("TLS refused: the broker asks for a client certificate ([tls] cert, key)", is_refusal=True)
    for cause in causes:
        code, reply = _reply(cause)
        if code == 403:
            return Fault(f"login refused: wrong password for user {user!r}, or no such user", is_refusal=True)
        if code == 530 and _NO_VHOST.search(reply):
            if "not found" in reply:
                return Fault(f"there is no vhost {vhost!r} (rabbitmqctl add_vhost {vhost})", is_refusal=True)
            return Fault(
                f"user {user!r} may not use vhost {vhost!r} (rabbitmqctl set_permissions -p {vhost} {user} ...)",
                is_refusal=True,
            )
        if code is not None:
            return Fault(f"the broker closed the connection: {reply}")
    return Fault(_wait_text(causes))


def _wait_text(causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"the name is not known ({cause.strerror})"
        if isinstance(cause, exceptions.AMQPHeartbeatTimeout):
            return "no heartbeat"
        if isinstance(cause, exceptions.ConnectionOpenAborted):
            return "it does not answer"
        if isinstance(cause, exceptions.IncompatibleProtocolError):
            return "it closes the connection before AMQP begins (is it a TLS port, or not RabbitMQ?)"
        if isinstance(cause, exceptions.StreamLostError):
            return "the connection broke"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    if any("timeout" in type(cause).__name__.lower() or isinstance(cause, TimeoutError) for cause in causes):
        return "it does not answer"
    return str(causes[-1]) or type(causes[-1]).__name__ if causes else "closed"


def _tls_text(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted ({error.verify_message}; [tls] ca)"
    reason = error.reason or str(error)
    if reason == "WRONG_VERSION_NUMBER":
        return "the port does not speak TLS (amqp:// without it has port 5672)"
    return reason.replace("_", " ").lower()


def _reply(error: BaseException) -> tuple[int | None, str]:
    """The code and text of a Close, also where pika has turned it into a guess."""
    if isinstance(error, exceptions.ConnectionClosedByBroker):
        return error.reply_code, error.reply_text
    guesses = (exceptions.ProbableAuthenticationError, exceptions.ProbableAccessDeniedError)
    if isinstance(error, guesses) and (found := _REPLY.search(" ".join(map(str, error.args)))):
        return int(found[1]), found[3]
    return None, ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it wraps, inner ones first."""
    if error is None:
        return
    inner: list[object] = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), *error.args]
    for cause in inner:
        if isinstance(cause, BaseException):
            yield from _causes(cause)
    yield error
