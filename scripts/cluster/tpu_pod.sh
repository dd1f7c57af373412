#!/usr/bin/env bash
# Train on all hosts of a Cloud TPU pod that exists, by gcloud: installs this checkout there, then runs aigc-jax train.
# Usage: bash scripts/cluster/tpu_pod.sh [--dry-run] TPU_NAME ZONE CONFIG --workdir DIR [options of aigc-jax train]
# DIR is on a file system that all hosts share, such as a mounted bucket. Set by a variable: PROJECT.
# Not run on a pod by us.
set -euo pipefail
source "$(dirname "$0")/common.sh"
expect 3 "TPU_NAME ZONE CONFIG" "$@"
name="$1" zone="$2"
shift 2
cd "$(dirname "$0")/../.."
where=(--zone "$zone" --worker=all)
if [ -n "${PROJECT:-}" ]; then where+=(--project "$PROJECT"); fi
words=$(printf ' %q' "$@")
archive=aigc_jax.tar.gz
run git archive --format=tar.gz --output "/tmp/$archive" HEAD
run gcloud compute tpus tpu-vm scp "/tmp/$archive" "$name:" "${where[@]}"
setup="mkdir -p aigc_jax && tar -xzf $archive -C aigc_jax && cd aigc_jax && python3 -m venv .venv"
setup+=" && .venv/bin/pip install --quiet -c constraints.txt -e '.[tpu]'"
run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --command "$setup"
# A spot pod that is taken away sends SIGTERM: all hosts save. The same command goes on.
run gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" \
  --command "cd aigc_jax && .venv/bin/aigc-jax train$words --distributed"
