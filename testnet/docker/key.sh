#!/bin/sh
# Fetches one key at two nodes or SAEs: key.sh A B
set -eu
repository=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
cd "$repository"
exec cargo run --quiet --release -p testnet -- docker key "$@"
