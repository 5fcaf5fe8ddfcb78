#!/usr/bin/env bash
# A stand-in for python:3.13-slim-trixie, made of Debian's packages.
#
#   make.sh TAG
#
# Python has its prefix in /usr/local, as there: with packages of its own, which pip may replace.
#
# The root file system is kept for a week, so that only the first build of a machine pays for it.
# Certificates that this machine trusts beside Debian's go into a layer of their own, for builds
# that fetch packages through it.
set -euo pipefail
tag=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../apt.sh"
cache=${LALEPASS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lalepass}/images
rootfs=$cache/python-3.13-trixie-$(date +%G-W%V).tar
label=org.lalepass.standin

install_mmdebstrap() {
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -qq
    as_root apt-get install -qq -y --no-install-recommends mmdebstrap > /dev/null
}

mkdir -p "$cache"
if [ ! -e "$rootfs" ]; then
    command -v mmdebstrap > /dev/null || install_mmdebstrap
    packages=$(mirror debian)
    [ -n "$packages" ] || {
        echo "standin: no Debian mirror in this machine's apt sources" >&2
        exit 1
    }
    rm -f "$cache"/python-3.13-trixie-*.tar
    mmdebstrap --quiet --variant=minbase \
        --include=ca-certificates,netbase,python3,python3-venv,tzdata \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='chroot "$1" python3 -m venv /usr/local' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
        trixie "${rootfs%.tar}.part.tar" "$packages"
    mv "${rootfs%.tar}.part.tar" "$rootfs"
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/certificates"
cp /usr/local/share/ca-certificates/*.crt "$context/certificates/" 2> /dev/null || true
digest=$(cat "$rootfs" "$context"/certificates/* "$here/Dockerfile" 2> /dev/null | sha256sum | cut -c1-64)

if [ "$(docker image inspect -f "{{ index .Config.Labels \"$label\" }}" "$tag" 2> /dev/null)" = "$digest" ]; then
    echo "standin: $tag is there"
    exit
fi
docker import --change 'CMD ["python3"]' "$rootfs" lalepass-standin/rootfs > /dev/null
docker build --quiet --label "$label=$digest" -t "$tag" -f "$here/Dockerfile" "$context" > /dev/null
echo "standin: made $tag"
