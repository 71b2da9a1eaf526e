"""Copying between any two transports: planned, streamed in bounded memory, verified, all or nothing."""

from __future__ import annotations

from wlmctl.transfer.content import put_content
from wlmctl.transfer.copy import copy
from wlmctl.transfer.endpoint import Endpoint, Spot, located, split_endpoint
from wlmctl.transfer.items import Item, Plan, Source, Symlinks
from wlmctl.transfer.place import Place
from wlmctl.transfer.plan import plan
from wlmctl.transfer.progress import Progress, Report, Summary
from wlmctl.transfer.same import likely_there
from wlmctl.transfer.temporary import command_name, execution_name
from wlmctl.transfer.verify import Verify

__all__ = [
    "Endpoint",
    "Item",
    "Place",
    "Plan",
    "Progress",
    "Report",
    "Source",
    "Spot",
    "Summary",
    "Symlinks",
    "Verify",
    "command_name",
    "copy",
    "execution_name",
    "likely_there",
    "located",
    "plan",
    "put_content",
    "split_endpoint",
]
