#!/bin/sh
# Fetches the source of argon2-cffi-bindings in the version, and with the hash, of the service's lock.
#
#   sdist.sh PYTHON FOLDER
#
# PYTHON is one that has pip.
set -eu
python=$1
folder=$2
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$folder"
sed -n '/^argon2-cffi-bindings==/,/[^\\]$/p' "$here/../../requirements/service.txt" \
    > "$folder/sdist.txt"
PYTHONPATH=$here/backend "$python" -m pip download --quiet --disable-pip-version-check \
    --no-cache-dir --no-deps --no-build-isolation --require-hashes --no-binary :all: \
    --dest "$folder" -r "$folder/sdist.txt"
