"""The store is the truth: the only package that talks to a database."""

from wlmctl.store.database import Database
from wlmctl.store.opening import open_configured, open_database

__all__ = ["Database", "open_configured", "open_database"]
