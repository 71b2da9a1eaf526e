"""The store is the truth: the only package that talks to a database."""

from wlmctl.store.database import Database

__all__ = ["Database"]
