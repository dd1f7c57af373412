#!/usr/bin/env bash
# Train with several processes on this machine, started again up to RESTARTS times (3) where one died.
# Usage: bash scripts/cluster/local.sh [--dry-run] NUM_PROCESSES CONFIG [options of aigc-jax train]
set -euo pipefail
source "$(dirname "$0")/common.sh"
expect 2 "NUM_PROCESSES CONFIG" "$@"
num="$1"
shift
status=0
for _ in $(seq 0 "${RESTARTS:-3}"); do
  status=0
  run aigc-jax launch local --num-processes "$num" -- train "$@" || status=$?
  # 75 a lost or stuck process, 134 and 137 killed ones; all else would only come again, or was asked for.
  case "$status" in
    75 | 134 | 137) ;;
    *) break ;;
  esac
done
exit "$status"
