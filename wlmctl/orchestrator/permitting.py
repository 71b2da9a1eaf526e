"""Permits that workers ask for: granted by priority and in order, over all processes that share the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wlmctl import traffic
from wlmctl.message import AskMessage, CloseIdleMessage, GrantMessage, PermitsBackMessage
from wlmctl.orchestrator.book import Book
from wlmctl.orchestrator.registry import Member, Registry
from wlmctl.orchestrator.routing import Routing
from wlmctl.store import permits

#: Seconds between two looks while somebody waits, and until idle connections are asked back once more.
LOOK_S, CLOSE_AGAIN_S = 0.1, 1.0

#: Seconds between two looks for permits of workers that are gone.
GONE_S = 1.0

#: Seconds after which a request is forgotten that was not made again: workers ask again every 5 s.
FORGOTTEN_S = 15.0

#: Heartbeats of a worker that do not list a permit before it counts as given back.
HEARTBEATS = 2


@dataclass(slots=True)
class _Request:
    """A permit that is wanted. ``asked_s`` is on the monotonic clock."""

    message: AskMessage
    asked_s: float


class Permitting:
    """Requests by priority and then in the order in which they came, login by login; what is granted is in the store.

    Workers that share a bandwidth are told how many do, all processes of the store counted.
    """

    def __init__(self, registry: Registry, routing: Routing, grace_s: float) -> None:
        self._registry, self._routing, self._grace_s = registry, routing, grace_s
        self._waiting: dict[str, _Request] = {}
        self._returned: set[str] = set()
        self._close_asked: dict[str, float] = {}
        #: By worker and token: heartbeats in a row that have not listed it.
        self._unlisted: dict[str, dict[str, int]] = {}
        self._granted: dict[str, set[str]] = {}
        self._adopted: dict[str, str] = {}
        #: By what divides a bandwidth: who has a share, of how many, as they were told.
        self._sharing: dict[str, tuple[frozenset[str], int]] = {}
        self._look_s = self._gone_s = 0.0
        self._is_known = self._is_wanted = False

    @property
    def next_s(self) -> float | None:
        """When to look again, on the monotonic clock."""
        if self._is_open():
            return self._look_s
        return self._gone_s if self._sharing or self._is_wanted else None

    def _is_open(self) -> bool:
        return bool(self._waiting or self._returned or self._adopted)

    def asked(self, message: AskMessage, now: float) -> None:
        """A worker wants a permit."""
        self._returned.discard(message.token)
        known = self._waiting.get(message.token)
        if known is not None:
            known.asked_s = now
        else:
            self._waiting[message.token] = _Request(message, now)
            self._look_s = now

    def returned(self, message: PermitsBackMessage) -> None:
        """A worker gives permits back, or does not want them any more."""
        for token in message.tokens:
            self._waiting.pop(token, None)
            self._returned.add(token)
        self._look_s = 0.0

    def listed(self, member: Member, tokens: Iterable[str]) -> None:
        """A heartbeat has come: what a worker does not list is not used any more, what it lists is its own."""
        granted = self._granted.get(member.id, set())
        for token in tokens:
            if token not in granted and any(token in others for others in self._granted.values()):
                self._adopted[token] = member.id  # it has taken a new id, and kept its connections
        if not granted:
            return
        unlisted = self._unlisted.setdefault(member.id, {})
        missing = granted.difference(tokens)
        for token in list(unlisted):
            if token not in missing:
                del unlisted[token]
        for token in missing:
            unlisted[token] = unlisted.get(token, 0) + 1
            if unlisted[token] > HEARTBEATS:
                self._returned.add(token)

    def start_over(self) -> None:
        """The store has lost what was written last: it is read again, and who was not answered asks again."""
        self._is_known = False
        self._sharing.clear()

    def advance(self, book: Book, now: float) -> None:
        """Grant what can be granted, and take back what is over; inside the transaction."""
        if not self._is_known:
            self._granted = permits.of_workers(book.db)
            self._is_known = True
        if now >= self._gone_s:
            self._gone_s = now + GONE_S
            self._take_back_from_gone(book)
            self._tell_sharing(book)
            self._ask_back_for_others(book, now)
        if not self._is_open() or now < self._look_s:
            return
        self._look_s = now + LOOK_S
        self._give_back(book)
        for token, worker in self._adopted.items():
            permits.adopt(book.db, token, worker)
            for tokens in self._granted.values():
                tokens.discard(token)
            self._granted.setdefault(worker, set()).add(token)
        self._adopted.clear()
        granted: dict[str, list[str]] = {}
        blocked = set[str]()
        for token, request in sorted(self._waiting.items(), key=lambda each: -each[1].message.priority):
            message = request.message
            if now > request.asked_s + FORGOTTEN_S:
                del self._waiting[token]
            elif message.login not in blocked and message.worker in self._registry.members:
                if self._grant(book, message):
                    del self._waiting[token]
                    granted.setdefault(message.worker, []).append(token)
                else:
                    blocked.add(message.login)
                    if message.limit and traffic.is_connection(message.login):
                        self._ask_back(book, message.login, message.worker, now)
        for worker, told in granted.items():
            book.send(self._routing.control(worker), GrantMessage(told))
        self._tell_sharing(book)

    def _grant(self, book: Book, message: AskMessage) -> bool:
        if message.per_minute:
            return permits.take_command(book.db, message.login, message.per_minute, book.now_s)
        process = self._registry.members[message.worker].process
        taken = permits.take(book.db, message.token, message.login, message.limit, process, worker=message.worker)
        if taken:
            self._granted.setdefault(message.worker, set()).add(message.token)
        return taken

    def _tell_sharing(self, book: Book) -> None:
        """Who has a share hears how many have one, when that has changed."""
        sharing = permits.of_kind(book.db, traffic.SHARE)
        live = self._registry.members.keys()
        now = {name: (frozenset(live & workers), count) for name, (workers, count) in sharing.items() if live & workers}
        for name, (workers, count) in now.items():
            knew, known = self._sharing.get(name, (frozenset(), 0))
            for worker in workers if count != known else workers - knew:
                book.send(self._routing.control(worker), GrantMessage([], {name: count}))
        self._sharing = now

    def _ask_back_for_others(self, book: Book, now: float) -> None:
        """What is no worker waits for connections, too: a ``copy`` that somebody looks at."""
        names = permits.wanted(book.db)
        self._is_wanted = bool(names)
        for name in names:
            if traffic.is_connection(name):
                self._ask_back(book, name, None, now)

    def _ask_back(self, book: Book, login: str, asker: str | None, now: float) -> None:
        """Workers other than the one that asks may have idle connections to the login."""
        if now < self._close_asked.get(login, 0.0):
            return
        self._close_asked[login] = now + CLOSE_AGAIN_S
        for worker in permits.workers_with(book.db, login):
            if worker in self._registry.members and worker != asker:
                book.send(self._routing.control(worker), CloseIdleMessage(login))

    def _give_back(self, book: Book) -> None:
        returned, self._returned = self._returned, set()
        if returned:
            permits.give_back(book.db, returned)
            for tokens in self._granted.values():
                tokens -= returned

    def _take_back_from_gone(self, book: Book) -> None:
        live = self._registry.members.keys()
        gone = permits.of_gone_workers(book.db, live, book.now_s - self._grace_s)
        if gone:
            permits.give_back(book.db, gone)
            for tokens in self._granted.values():
                tokens.difference_update(gone)
        for worker in [worker for worker, tokens in self._granted.items() if not tokens and worker not in live]:
            del self._granted[worker]
        for worker in self._unlisted.keys() - live:
            del self._unlisted[worker]
