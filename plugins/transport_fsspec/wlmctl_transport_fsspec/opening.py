"""Making a transport: the library, the backend that the URL asks for, and whether the store answers."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from typing import Any

from wlmctl.errors import ConfigError, NotFound, Unreachable
from wlmctl.machine import Machine
from wlmctl_transport_fsspec.faults import error_for
from wlmctl_transport_fsspec.loop import OwnLoop
from wlmctl_transport_fsspec.settings import Settings, settings_of
from wlmctl_transport_fsspec.store import StoreTransport
from wlmctl_transport_fsspec.web import WebTransport

_INSTALL = "pip install 'wlmctl[fsspec]'"
_WEB = ("http", "https")


def open_transport(machine: Machine, options: Mapping[str, Any]) -> StoreTransport | WebTransport:
    """A transport to the store, which has answered once."""
    settings = settings_of(machine, options)
    own = OwnLoop()
    try:
        filesystem = _filesystem(settings, own)
    except BaseException:
        own.end()
        raise
    weakref.finalize(filesystem, own.end)  # after its sessions, which end with it too
    root = str(filesystem._strip_protocol(settings.url)).rstrip("/")
    _ask(settings, filesystem, root)
    kind = WebTransport if settings.protocol in _WEB else StoreTransport
    return kind(settings.machine, filesystem, root, own.break_off)


def _filesystem(settings: Settings, own: OwnLoop) -> Any:
    where = f"machine {settings.machine}: transport fsspec"
    try:
        import fsspec
    except ImportError:
        raise ConfigError(f"{where}: the library fsspec is not installed: {_INSTALL}") from None
    try:
        kind = fsspec.get_filesystem_class(settings.protocol)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{where}: {settings.protocol}://: {error} (for S3 and HTTP: {_INSTALL})") from error
    try:
        storage = _storage(settings) | ({"loop": own.loop} if kind.async_impl else {})
        # Fresh answers, and a session of its own that ends with the connection.
        return kind(**storage, use_listings_cache=False, skip_instance_cache=True)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"{where}: storage_options: {error}") from error


def _storage(settings: Settings) -> dict[str, Any]:
    """The backend's options, with time-outs that bound a silence and not a transfer."""
    storage = dict(settings.storage)
    if settings.protocol in _WEB:
        import aiohttp

        # fsspec gives a session 0.1 s to close, which may be over before it begins; then it is closed in another way
        warnings.filterwarnings("ignore", "coroutine 'ClientSession.close' was never awaited", RuntimeWarning)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.timeout_s, sock_read=settings.timeout_s)
        storage["client_kwargs"] = {"timeout": timeout, "trust_env": True, **storage.get("client_kwargs", {})}
        # A compressed answer would have another size than the one that was announced.
        storage["headers"] = {**storage.get("headers", {}), "Accept-Encoding": "identity"}
        storage |= {"encoded": True, "simple_links": False}
    elif settings.protocol in ("s3", "s3a"):
        times = {"connect_timeout": settings.timeout_s, "read_timeout": settings.timeout_s}
        storage["config_kwargs"] = {**times, **storage.get("config_kwargs", {})}
    return storage


def _ask(settings: Settings, filesystem: Any, root: str) -> None:
    """``Unreachable`` where the store does not answer, refuses the login, or has no such bucket."""
    bucket = root if settings.protocol in _WEB or root.startswith("/") else root.partition("/")[0]
    try:
        filesystem.info(bucket)
    except Exception as error:
        fault = error_for(settings.machine, settings.url, error)
        if isinstance(fault, Unreachable):
            raise fault from error
        if isinstance(fault, NotFound) and settings.protocol not in _WEB:
            raise Unreachable(f"machine {settings.machine}: {settings.url}: there is no {bucket}") from error
        # A root that may not be looked at may still hold what can be read.
