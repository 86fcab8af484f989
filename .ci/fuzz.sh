#!/usr/bin/env bash
# Tests every operation of a running server against its OpenAPI document with schemathesis:
#
#     .ci/fuzz.sh [BINARY [ARGUMENT ...]]
#
# BINARY is target/debug/tripgate by default. The arguments are passed to `st`, the program of schemathesis,
# which must be in PATH.
#
# FUZZ_EXAMPLES=1000 sets the number of requests for each operation; schemathesis.toml has the default.
#
# The server listens on a free loopback port and stores its data in a temporary folder, which is removed
# at the end. Hashing is cheap and rate limits are off, so that requests reach the operations.
set -euo pipefail

settings=$(dirname "$(realpath "$0")")/schemathesis.toml
binary=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/debug/tripgate}")
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
server=
folder=$(mktemp -d "${TMPDIR:-/tmp}/tripgate-fuzz.XXXXXX")

stop() {
    local status=$?
    trap - EXIT
    if [ "$status" -ne 0 ] && [ -e "$folder/log" ]; then
        echo "fuzz: last lines of the server log:" >&2
        tail -n 50 "$folder/log" >&2
    fi
    if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
        for _ in $(seq 100); do
            kill -0 "$server" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$folder"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The server must not read the `.env` of the project, and schemathesis must not write to the tree.
cd "$folder"

TRIPGATE_LISTEN=127.0.0.1:$port TRIPGATE_DATA_DIR=$folder/data TRIPGATE_BCRYPT_COST=4 \
    TRIPGATE_LIMITS=off TRIPGATE_LOG=warn "$binary" serve >"$folder/log" 2>&1 &
server=$!
for _ in $(seq 300); do
    curl --silent --fail --output /dev/null "$url/health/live" && break
    kill -0 "$server"
    sleep 0.1
done

FUZZ_IDENTIFIER=fuzz@example.com
FUZZ_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export FUZZ_IDENTIFIER FUZZ_PASSWORD
curl --silent --show-error --fail --output /dev/null "$url/api/v1/auth/signup" --json @- <<JSON
{ "email": "$FUZZ_IDENTIFIER", "password": "$FUZZ_PASSWORD" }
JSON

client=$(TRIPGATE_DATA_DIR=$folder/data "$binary" clients add fuzz)
FUZZ_CLIENT_ID=$(sed -n 's/^client_id *//p' <<<"$client")
FUZZ_CLIENT_SECRET=$(sed -n 's/^client_secret *//p' <<<"$client")
export FUZZ_CLIENT_ID FUZZ_CLIENT_SECRET

# This timeout only guards against hangs. The time limits of schemathesis are not used, because schemathesis
# repeats tests until such a limit is reached.
timeout "${FUZZ_TIMEOUT_SECS:-900}" st --config-file "$settings" run "$url/openapi.json" \
    --phases examples,coverage,fuzzing,stateful --checks all --no-color \
    ${FUZZ_EXAMPLES:+--max-examples "$FUZZ_EXAMPLES"} "${@:2}"

# The server must still be running after the last request.
curl --silent --show-error --fail --output /dev/null "$url/health/live"
