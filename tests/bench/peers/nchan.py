"""nginx with nchan: viewers on `/sub/<topics>`, the feed by HTTP on `/pub/<topic>`."""

from pathlib import Path
from typing import Final

from infra.local.places import HOST
from tests.bench.pinned import most_files

PROGRAM = "nginx"
MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

# One process, so that what it uses is seen in one place. The publisher's answers are not measured.
SETTINGS: Final = """
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  nchan_shared_memory_size 512M;
  nchan_message_buffer_length 256;
  nchan_message_timeout 5s;
  server {{
    listen {host}:{port} backlog=4096;
    location ~ ^/sub/([0-9,]+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_channel_id_split_delimiter ",";
      nchan_subscriber_first_message newest;
    }}
  }}
  server {{
    listen {host}:{feed};
    location ~ ^/pub/([0-9]+)$ {{ nchan_publisher http; nchan_channel_id $1; }}
  }}
}}
"""


def command(program: str, folder: Path, port: int, feed: int) -> list[str | Path]:
    """How it is started; writes its settings."""
    file = folder / "nginx.conf"
    file.write_text(
        SETTINGS.format(
            module=MODULE, folder=folder, host=HOST, port=port, feed=feed, files=most_files()
        )
    )
    return [program, "-p", folder, "-c", file, "-e", "stderr"]
