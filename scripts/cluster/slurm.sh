#!/usr/bin/env bash
# Submit a training to SLURM: a task per GPU, saved before the time limit, queued again until it is complete.
# Usage: bash scripts/cluster/slurm.sh [--dry-run] CONFIG --workdir DIR [options of aigc-jax train]
# DIR is on a file system that all nodes share. Set by variables: NODES (2), GPUS of each node (8), MINUTES of the time
# limit (240), SAVE_BEFORE in minutes (MINUTES - 10), SBATCH (other options of sbatch, such as "--partition=gpu").
# Not run on a cluster by us.
set -euo pipefail
source "$(dirname "$0")/common.sh"
expect 1 "CONFIG" "$@"
gpus="${GPUS:-8}"
minutes="${MINUTES:-240}"
save_before="${SAVE_BEFORE:-$((minutes - 10))}"
if [ "$save_before" -lt 1 ]; then
  echo "slurm.sh: expected MINUTES of more than 10, got $minutes: set MINUTES, or SAVE_BEFORE too" >&2
  exit 2
fi
words=$(printf ' %q' "$@")
# SIGTERM may never come before the time limit: --save-before does not wait for it. 143 is a stop that saved, 75 and 134
# are of a process that was lost.
script=$(
  cat << JOB
#!/usr/bin/env bash
#SBATCH --job-name=aigc-jax
#SBATCH --nodes=${NODES:-2}
#SBATCH --ntasks-per-node=$gpus
#SBATCH --gpus-per-node=$gpus
#SBATCH --time=$minutes
#SBATCH --requeue
#SBATCH --open-mode=append
status=0
srun --kill-on-bad-exit=1 aigc-jax train$words --distributed --save-before ${save_before}m || status=\$?
case "\$status" in 143 | 75 | 134 | 137) scontrol requeue "\$SLURM_JOB_ID" ;; esac
exit "\$status"
JOB
)
read -ra more <<< "${SBATCH:-}"
feed JOB "$script" sbatch "${more[@]}"
