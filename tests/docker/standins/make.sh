#!/usr/bin/env bash
# Makes stand-ins for the images that the Dockerfiles and docker-compose.yml are based on, for
# machines that reach no registry: from Debian's packages and PyPI, under the official names.
# Where the official images can be had, don't run this.
#
#   tests/docker/standins/make.sh          all
#   tests/docker/standins/make.sh synapse  one of python, synapse, postgres, valkey, haproxy,
#                                          prometheus (and what it is made from)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
root=$(cd "$here/../../.." && pwd)

PYTHON_IMAGE=python:3.13-slim-trixie
POSTGRES_IMAGE=postgres:17-trixie
VALKEY_IMAGE=valkey/valkey:8.1
HAPROXY_IMAGE=haproxy:3.0
PROMETHEUS_IMAGE=prom/prometheus:v2.53.3
SYNAPSE_VERSION=$(sed -n 's/^matrix-synapse\(\[[^]]*\]\)\?==\([0-9.]*\).*/\2/p' "$root/requirements/dev.txt")
SYNAPSE_IMAGE=matrixdotorg/synapse:v$SYNAPSE_VERSION

build() { # FOLDER TAG ARGUMENTS...
    local folder=$1 tag=$2 begun=$SECONDS
    shift 2
    docker build --progress=plain -t "$tag" --build-arg PYTHON_IMAGE="$PYTHON_IMAGE" "$@" "$folder" \
        > "$log" 2>&1 || {
        tail -n 30 "$log" >&2
        exit 1
    }
    echo "standin: $tag ($((SECONDS - begun)) s)"
}

synapse() {
    local context
    context=$(mktemp -d)
    cp "$here"/synapse/* "$context"
    # The versions that the tests run with, without the hashes: constraints can't have any.
    sed -n 's/^\([a-zA-Z0-9._-]*\)\(\[[^]]*\]\)\?==\([^ ;]*\).*/\1==\3/p' "$root/requirements/dev.txt" \
        > "$context/constraints.txt"
    build "$context" "$SYNAPSE_IMAGE" --build-arg SYNAPSE_VERSION="$SYNAPSE_VERSION"
    rm -rf "$context"
}

"$here/python/make.sh" "$PYTHON_IMAGE"
case ${1:-all} in
    python) ;;
    synapse) synapse ;;
    postgres) build "$here/postgres" "$POSTGRES_IMAGE" ;;
    valkey) build "$here/valkey" "$VALKEY_IMAGE" ;;
    haproxy) build "$here/haproxy" "$HAPROXY_IMAGE" ;;
    prometheus) build "$here/prometheus" "$PROMETHEUS_IMAGE" ;;
    all)
        build "$here/postgres" "$POSTGRES_IMAGE"
        build "$here/valkey" "$VALKEY_IMAGE"
        build "$here/haproxy" "$HAPROXY_IMAGE"
        build "$here/prometheus" "$PROMETHEUS_IMAGE"
        synapse
        ;;
    *)
        echo "standin: there is no $1" >&2
        exit 2
        ;;
esac
