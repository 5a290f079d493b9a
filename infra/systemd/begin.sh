#!/bin/bash
# On an instance of infra/consumer-small.yaml, once: take the disk, install what the bundle brings,
# start the consumer, and return when it is ready. Anything that fails ends it, and with it the
# deployment.
#
#   begin.sh VOLUME     the EBS volume that keeps the log
set -euo pipefail
volume=$1
here=/opt/statuswire
data=/var/lib/statuswire

# ── The disk: it has outlived the instance before this one, or is new ──
# That instance may still have it, for as long as it drains.
instance=$(ec2-metadata --instance-id | cut -d ' ' -f 2)
for _ in $(seq 60); do
    if aws ec2 attach-volume --volume-id "$volume" --instance-id "$instance" --device /dev/sdf; then
        break
    fi
    sleep 5
done
# On Nitro, the volume's id is the device's serial number, without the hyphen.
disk=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${volume/-/}
for _ in $(seq 60); do
    [ -e "$disk" ] && break
    sleep 1
done
[ -e "$disk" ] || {
    echo "$volume did not come" >&2
    exit 1
}
# Only a disk with nothing on it is formatted: blkid says 2 of one without a signature.
code=0
blkid --probe "$disk" >/dev/null || code=$?
case $code in
0) ;;
2) mkfs.xfs -q "$disk" ;;
*) exit "$code" ;;
esac
mkdir -p "$data"
echo "$disk $data xfs defaults,nofail,nodev,nosuid,noexec 0 2" >>/etc/fstab
systemctl daemon-reload
mount "$data"

# ── The consumer ──
chmod 755 "$here/bin/statuswire"
install -m 644 "$here/systemd/statuswire.sysusers.conf" /usr/lib/sysusers.d/statuswire.conf
systemd-sysusers
chown statuswire:statuswire "$data"
install -m 644 "$here"/systemd/*.service "$here"/systemd/*.timer /etc/systemd/system/
systemctl daemon-reload
if [ -e /etc/statuswire/certificate.env ]; then
    install -d -m 750 -g statuswire /etc/statuswire/tls
    systemctl start statuswire-certificate.service
    systemctl enable --now statuswire-certificate.timer
fi
systemctl enable --now statuswire.service

# ── Ready? ──
port=$(sed -n 's/^STATUSWIRE_PORT=//p' /etc/statuswire/statuswire.env)
scheme=http
[ -e /etc/statuswire/certificate.env ] && scheme=https
for _ in $(seq 60); do
    # The certificate is for the name that viewers use, not for this address.
    if curl --silent --fail --insecure --max-time 5 "$scheme://127.0.0.1:${port:-8080}/readyz"; then
        exit 0
    fi
    sleep 2
done
journalctl --unit statuswire --lines 50 --no-pager >&2
exit 1
