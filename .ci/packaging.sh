#!/usr/bin/env bash
# Checks the files in packaging/ with the programs that read them.
set -euo pipefail
cd "$(dirname "$0")/.."

# Fails if the exposure level of the unit is above 2.0, on the scale of systemd from 0 (best) to 10.
systemd-analyze security --offline=yes --threshold=20 --no-pager packaging/tripgate.service | tail -1
hadolint Dockerfile
promtool check rules packaging/alerts.yml
kubernetes-validate --strict --quiet packaging/kubernetes.yaml
echo "the manifests for Kubernetes are valid"
