#!/bin/sh
# Removes the network in Docker: down.sh
set -eu
repository=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
cd "$repository"
exec cargo run --quiet --release -p testnet -- docker down "$@"
