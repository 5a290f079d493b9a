#!/bin/sh
# Writes the two PEM files of the secret CERTIFICATE_SECRET, {"certificate": "…", "key": "…"}, whole
# or not at all, into TLS_FOLDER. Readable by the consumer, writable by root alone.
set -eu
folder=${TLS_FOLDER:-/etc/statuswire/tls}
new=$(mktemp -d "$folder/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
aws secretsmanager get-secret-value --secret-id "$CERTIFICATE_SECRET" \
    --query SecretString --output text |
    NEW=$new python3.13 -c '
import json, os, pathlib, sys
secret = json.load(sys.stdin)
for name in ("certificate", "key"):
    (pathlib.Path(os.environ["NEW"]) / f"{name}.pem").write_text(secret[name])
'
chmod 0640 "$new"/*.pem
chgrp statuswire "$new"/*.pem
# The consumer waits for a pair that fits together, so one after the other is no harm.
mv "$new/certificate.pem" "$new/key.pem" "$folder/"
