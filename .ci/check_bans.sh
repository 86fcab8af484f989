#!/usr/bin/env bash
# Checks that `cargo deny` with deny.toml rejects a banned crate: a temporary crate depends on `ring`, in the
# version that Cargo.lock lists. Cargo.lock lists `ring` although no build of Tripgate contains it, so a
# search for `ring` in Cargo.lock would prove nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
version=$(sed -n '/^name = "ring"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
mkdir "$folder/src"
touch "$folder/src/lib.rs"
cat >"$folder/Cargo.toml" <<TOML
[package]
name = "banned"
version = "0.0.0"
edition = "2024"
license = "MIT"

[dependencies]
ring = "=$version"

[workspace]
TOML
if log=$(cargo deny --manifest-path "$folder/Cargo.toml" --config deny.toml check bans 2>&1); then
    echo "check_bans: cargo deny accepts ring" >&2
    exit 1
fi
grep -q "the only crypto backend is aws-lc-rs" <<<"$log" || { echo "$log" >&2; exit 1; }
echo "check_bans: cargo deny rejects ring $version"
