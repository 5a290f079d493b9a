#!/bin/sh
# The product and all that it needs, into one folder that PYTHONPATH can name: for the image
# (Containerfile) and for the bundle of infra/consumer-small.yaml. Every wheel is checked against
# the hashes of the lock file, which is complete, and nothing is built but the product itself.
#
#   sh infra/image/install.sh FOLDER [options of `uv pip install`]
set -eu
folder=$1
shift
cd "$(dirname "$0")/../.."
uv pip install --quiet --target "$folder" "$@" \
    --no-deps --require-hashes --only-binary :all: -r requirements/consumer.txt
# uv has the build backend inside; without dependencies, there is nothing to check by hash.
uv pip install --quiet --target "$folder" "$@" --no-deps .
