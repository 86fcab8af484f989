#!/usr/bin/env bash
# Checks that the OpenAPI document is backward compatible with the last release:
#
#     .ci/check_compatibility.sh [BINARY]          (default: target/debug/tripgate)
#
# The last release is the newest tag `v…` among this commit's ancestors. `tripgate openapi --diff` defines
# breaking changes.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

binary=${1:-${CARGO_TARGET_DIR:-target}/debug/tripgate}
# Without `safe.directory`, git refuses a clone that another user owns.
git() { command git -c safe.directory="$PWD" "$@"; }
if ! git rev-parse --verify --quiet HEAD >/dev/null 2>&1; then
    echo "skipped: not a git clone"
    exit 0
fi
tag=$(git tag --merged HEAD --list 'v[0-9]*' --sort=-version:refname | head -n 1)
if [ -z "$tag" ]; then
    echo "skipped: no release tag v… found"
    exit 0
fi
old=$(mktemp "${TMPDIR:-/tmp}/tripgate-released.XXXXXX")
trap 'rm -f "$old"' EXIT
git show "$tag:openapi/openapi.json" >"$old"
echo "compared with $tag:"
"$binary" openapi --diff "$old" openapi/openapi.json
