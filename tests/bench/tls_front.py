"""TLS for the mock of SQS, which speaks none itself: nginx in front of it, on the load's core."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme

from infra.local.places import HOST, Ports
from tests.bench.contestants import SYSTEM, answers
from tests.bench.pinned import Cores, Pinned, wait_for

# One process, which keeps as many connections open as it is asked to on either side.
SETTINGS: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  proxy_buffer_size 64k;
  proxy_buffers 8 64k;
  proxy_busy_buffers_size 128k;
  client_body_buffer_size 64k;
  upstream mock {{
    server {mock};
    keepalive 128;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
  }}
  server {{
    listen {host}:{port} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Front:
    """Where it listens, and the file with the authority that its certificate is of."""

    endpoint: str
    authority: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes AWS' SDKs for Python and JavaScript trust it."""
        return {
            "AWS_CA_BUNDLE": str(self.authority),
            "NODE_EXTRA_CA_CERTS": str(self.authority),
        }


def program() -> str | None:
    """None where nginx is not installed."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{SYSTEM}")


@contextmanager
def tls_front(folder: Path, mock: str) -> Iterator[Front]:
    """In front of `mock`, an `http://` address."""
    nginx, port = program(), Ports().settle().aws
    assert nginx is not None
    authority = trustme.CA()
    issued = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for place, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(folder / "certificate.pem", append=place > 0)
    settings = SETTINGS.format(
        folder=folder, host=HOST, port=port, mock=mock.removeprefix("http://")
    )
    (folder / "nginx.conf").write_text(settings)
    command: list[str | Path] = [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    process = Pinned(command, Cores.here().load, folder / "nginx")
    try:
        wait_for(lambda: process.is_up() and answers(port))
        yield Front(f"https://{HOST}:{port}", folder / "authority.pem")
    finally:
        process.kill()
