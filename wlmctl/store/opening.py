"""Opening the store of a URL: SQLite's and PostgreSQL's modules are imported only for their own."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from wlmctl.errors import NoStore, StoreError, StoreOutage
from wlmctl.machine import Reference
from wlmctl.store.database import Database
from wlmctl.store.patience import Patience

if TYPE_CHECKING:
    from wlmctl.config import Config

#: A password, or where it is.
Password = str | Reference | None


def open_database(url: str, password: Password = None, *, create: bool = True, any_version: bool = False) -> Database:
    """The store at ``url``, for the calling thread.

    ``create`` makes one that is not there yet; else that is ``NoStore``. ``any_version`` also opens one that is older
    or newer than this program.
    """
    if is_postgresql(url):
        try:
            from wlmctl.store.postgres import PostgresDatabase
        except ImportError as error:
            raise StoreError(f"store {url}: psycopg is needed: pip install 'wlmctl[postgres]' ({error})") from error
        return PostgresDatabase(url, password=_revealed(password), create=create, any_version=any_version)
    from wlmctl.store.sqlite import SqliteDatabase

    return SqliteDatabase(url, create=create, any_version=any_version)


def open_configured(config: Config, *, create: bool = True, any_version: bool = False) -> Database:
    """The store of the configuration."""
    return open_database(config.store, config.store_login, create=create, any_version=any_version)


def open_empty(config: Config) -> Database:
    """A store in memory that stands for the configured one, which is not there: it has nothing in it."""
    from wlmctl.store.sqlite import SqliteDatabase

    return SqliteDatabase(config.store, empty=True)


def open_patiently(url: str, password: Password, patience: Patience, *, create: bool = True) -> Database:
    """The store, waited for now and later as long as ``patience`` lasts."""
    while True:
        try:
            db = open_database(url, password, create=create)
        except StoreOutage as outage:
            patience(outage)
            continue
        db.patience = patience
        return db


def is_there(config: Config) -> bool:
    """True when the configured store exists; nothing is made."""
    if not is_postgresql(config.store):
        from wlmctl.store.sqlite import is_absent

        return not is_absent(config.store)
    try:
        open_configured(config, create=False).close()
    except NoStore:
        return False
    return True


def is_postgresql(url: str) -> bool:
    """True for ``postgresql://``."""
    return url.startswith("postgresql://")


def _revealed(password: Password) -> str | None:
    return _reveal(password) if isinstance(password, Reference) else password


@cache
def _reveal(reference: Reference) -> str:
    """Asked for once: each thread has a connection of its own, and the command may take its time."""
    from wlmctl.secret import reveal

    return reveal(reference, "store_password")
