"""The door: who may connect, how many and how fast, and whose pages.

A connection is *half-open* from its first packet until it is admitted as a viewer, or has gone.
What is kept about addresses is forgotten within a second or so, once its bucket is full again.
"""

import re
import resource
from collections import Counter
from collections.abc import Iterable
from typing import Final, Protocol

from websockets.datastructures import Headers

from consumer.core.limits import Bucket, Limits
from consumer.edges.addresses import Address, Network, Proxies, bucket_of
from consumer.edges.tls import Certificates
from consumer.edges.tokens import Verifier
from consumer.pipeline import Counts

BURST_S: Final = 2.0  # of all: a fleet of viewers that comes back after a restart
ADDRESS_BURST_S: Final = 10.0  # of one address: an office that does
OTHER_FILES: Final = 256  # the log, the queues' sockets, the metrics' port, Python's own
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Visitor(Protocol):
    """A connection, as far as the door is concerned."""

    def abort(self) -> None:
        """Drop it now."""


class Door:
    """Counts those who come in. Times in seconds, of the loop's clock."""

    def __init__(
        self,
        limits: Limits,
        counts: Counts,
        *,
        origins: frozenset[str] = frozenset(),
        trusted_proxies: Iterable[Network] = (),
        verifier: Verifier | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.limits = limits
        self.counts = counts
        self.verifier = verifier
        self.certificates = certificates
        self.proxies = Proxies(trusted_proxies)
        self.half_open: dict[Visitor, None] = {}  # the oldest first
        self.admitted = 0
        self._origins = origins
        self._rate = Bucket(limits.handshakes_per_s, limits.handshakes_per_s * BURST_S)
        self._rates: dict[int, Bucket] = {}
        self._admitted_of: Counter[int] = Counter()

    def refuse(self, reason: str) -> None:
        """Count a connection that is not let in."""
        self.counts["connections_refused", reason] += 1

    def enter(self, visitor: Visitor, peer: Address, now_s: float) -> bool:
        """Whether a new connection may say who it is; the oldest half-open one may have to go."""
        # A proxy's connections are counted by whom it names, once it has.
        is_alone = not peer.is_loopback and peer not in self.proxies
        # First: what one address has too many of must not use up the rate of all.
        if is_alone and not self._take(bucket_of(peer), now_s):
            return False
        if not self._rate.take(now_s):
            self.refuse("rate")
            return False
        self.half_open[visitor] = None
        if len(self.half_open) > self.limits.half_open:
            oldest = next(iter(self.half_open))
            del self.half_open[oldest]
            self.refuse("half_open")
            oldest.abort()
        return True

    def counted_as(self, peer: Address, headers: Headers) -> int | None:
        """What a connection is counted under, now that its request is here.

        None for this machine's own programs, which could do worse than connect.
        """
        if self._is_forwarded(peer, headers):
            return bucket_of(self.proxies.client(peer, headers.get_all("X-Forwarded-For")))
        return None if peer.is_loopback else bucket_of(peer)

    def lets_on(self, peer: Address, headers: Headers, now_s: float) -> bool:
        """Whether whoever is behind a proxy may go on; others were asked as they entered."""
        bucket = self.counted_as(peer, headers)
        return bucket is None or not self._is_forwarded(peer, headers) or self._take(bucket, now_s)

    def admit(self, visitor: Visitor, bucket: int | None) -> bool:
        """Whether there is room for one more viewer; it must be told to `leave`."""
        if self.admitted >= self.limits.connections:
            self.refuse("connections")
            return False
        if bucket is not None:
            if self._admitted_of[bucket] >= self.limits.connections_per_address:
                self.refuse("address")
                return False
            self._admitted_of[bucket] += 1
        self.admitted += 1
        self.half_open.pop(visitor, None)
        return True

    def leave(self, bucket: int | None) -> None:
        """A viewer has gone."""
        self.admitted -= 1
        if bucket is not None:
            self._admitted_of[bucket] -= 1
            if not self._admitted_of[bucket]:
                del self._admitted_of[bucket]

    def sweep(self, now_s: float) -> None:
        """Forget the addresses of which nothing would be remembered."""
        for bucket, rate in list(self._rates.items()):
            if rate.is_full(now_s):
                del self._rates[bucket]

    def is_private(self, peer: Address) -> bool:
        """Whether a token on its way here could not be overheard: TLS, or this machine."""
        return self.certificates is not None or peer.is_loopback or peer in self.proxies

    def allows(self, headers: Headers, peer: Address) -> bool:
        """Whether a browser's page may connect: our own, or one that a setting names.

        A page of another site could otherwise watch through its visitor's browser. Where no token
        is asked for, the page's own origin counts on loopback names only, or a name that points
        here would do (DNS rebinding).
        """
        origins = headers.get_all("Origin")
        if not origins:
            return True  # programs send none
        hosts = headers.get_all("Host")
        if len(origins) != 1 or len(hosts) != 1:
            return False
        if origins[0] in self._origins:
            return True
        name = re.sub(r":[0-9]+$", "", hosts[0])
        is_known = self.verifier is not None or name in _LOOPBACK_NAMES
        return is_known and origins[0] == f"{self._scheme(headers, peer)}://{hosts[0]}"

    def _scheme(self, headers: Headers, peer: Address) -> str:
        if self.certificates is not None:
            return "https"
        if peer not in self.proxies:
            return "http"
        return ",".join(headers.get_all("X-Forwarded-Proto")).rpartition(",")[2].strip() or "http"

    def _is_forwarded(self, peer: Address, headers: Headers) -> bool:
        """Not so for a proxy's own requests, such as its health checks."""
        return peer in self.proxies and "X-Forwarded-For" in headers

    def _take(self, bucket: int, now_s: float) -> bool:
        if (rate := self._rates.get(bucket)) is None:
            per_s = self.limits.handshakes_per_s_per_address
            rate = self._rates[bucket] = Bucket(per_s, per_s * ADDRESS_BURST_S)
        if not rate.take(now_s):
            self.refuse("address_rate")
            return False
        return True


def make_room(limits: Limits) -> int:
    """Let this process open as many files as its limits need; returns how many are lacking.

    No privilege is needed up to the system's hard limit (getrlimit(2)).
    """
    needed = limits.connections + limits.half_open + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(0, needed - most)
