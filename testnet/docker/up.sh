#!/bin/sh
# Starts a network in Docker: up.sh TOPOLOGY
set -eu
repository=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
[ $# -ge 1 ] || { echo "usage: up.sh TOPOLOGY" >&2; exit 2; }
topology=$(realpath -- "$1")
shift
set -- "$topology" "$@"
cd "$repository"
exec cargo run --quiet --release -p testnet -- docker up "$@"
