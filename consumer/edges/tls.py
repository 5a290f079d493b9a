"""TLS by certificate files, read again when they change. Open connections stay as they are."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from consumer.pipeline import Counts
from consumer.settings import PREFIX, BadSettings

log = logging.getLogger(__name__)

RELOAD_S: Final = 5.0  # renewals come weeks before the end; two calls of stat each time

_Signature = tuple[tuple[int, int, int], ...]


class Certificates:
    """A certificate and its key, as of the newest files that belong together."""

    def __init__(self, certificate: Path, key: Path, counts: Counts) -> None:
        """Reads both. Raises `BadSettings` where they are of no use: the operator must act."""
        self._files = (certificate, key)
        self._counts = counts
        self._told = ""
        try:
            self._seen = self._signature()
            self.context = self._read()
        except (OSError, ValueError) as error:
            name = "TLS_CERTIFICATE" if not _is_readable(certificate) else "TLS_KEY"
            raise BadSettings([f"{PREFIX}{name}: {_reason(error)}"]) from error

    async def keep(self) -> None:
        """Follow the files, for ever."""
        while True:
            await asyncio.sleep(RELOAD_S)
            self.refresh()

    def refresh(self) -> None:
        """Take the files' new content, if there is any and it is whole; else keep the old."""
        try:
            # Before reading: what changes meanwhile will look new the next time.
            found = self._signature()
            if found == self._seen:
                return
            self.context = self._read()
        except (OSError, ValueError) as error:
            if (reason := _reason(error)) != self._told:  # one of two files was written, mostly
                log.warning("new certificate files are of no use", extra={"reason": reason})
                self._counts["tls_reloads", "failed"] += 1
                self._told = reason
            return
        self._seen = found
        self._told = ""
        self._counts["tls_reloads", "done"] += 1
        log.info("new certificate")

    def _signature(self) -> _Signature:
        found = [path.stat() for path in self._files]
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def _read(self) -> ssl.SSLContext:
        """Another context each time: the one in use must not be left with half of a pair."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # it would cost us more than the client
        context.set_alpn_protocols(["http/1.1"])
        # An empty passphrase, or OpenSSL would ask at the terminal.
        context.load_cert_chain(*self._files, password="")
        return context


def _is_readable(certificate: Path) -> bool:
    """Whether the certificate's own file is not what is wrong."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(certificate)
    except (OSError, ValueError):
        return False
    return True


def _reason(error: Exception) -> str:
    """What is wrong, without what the files hold."""
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not the certificate's"
        return "must be a whole PEM file, without a passphrase"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return "cannot be used"
