"""SSH: verified, authenticated connections (``connection.connect``) and commands over them (``command``).

Importing this package imports nothing heavy; paramiko is imported when a host is looked up or talked to.
"""

from __future__ import annotations

from wlmctl.ssh.login import resolved_login

__all__ = ["resolved_login"]
