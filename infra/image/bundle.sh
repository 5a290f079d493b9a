#!/bin/sh
# What infra/consumer-small.yaml puts on its instance, as a folder: the product for 64-bit ARM and
# Python 3.13, a command, and the files of systemd. `sam deploy` zips it and uploads it.
#
#   sh infra/image/bundle.sh FOLDER
set -eu
cd "$(dirname "$0")/../.."
folder=$1
rm -rf "$folder"
mkdir -p "$folder/bin"
# Amazon Linux 2023 has glibc 2.34; 2.28 is what wheels are made for.
sh infra/image/install.sh "$folder/python" \
    --python-platform aarch64-manylinux_2_28 --python-version 3.13
cp -R infra/systemd "$folder/systemd"
cat >"$folder/bin/statuswire" <<'END'
#!/bin/sh
# Nothing is imported from the folder that it writes to.
PYTHONSAFEPATH=1 PYTHONPATH=/opt/statuswire/python exec /usr/bin/python3.13 -m consumer "$@"
END
chmod 755 "$folder/bin/statuswire"
