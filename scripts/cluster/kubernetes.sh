#!/usr/bin/env bash
# Train as a JobSet of Kubernetes: a pod per host, all started again where one fails.
# Usage: bash scripts/cluster/kubernetes.sh [--dry-run] NAME IMAGE CONFIG --workdir DIR [options of aigc-jax train]
# IMAGE has aigc-jax installed, with jax[k8s] on GPUs and the extra tpu on TPUs; DIR is on the volume claim VOLUME
# (aigc-jax), mounted at /runs. Set by variables: HOSTS (2), CHIPS of each host (8), RESOURCE (nvidia.com/gpu, or
# google.com/tpu with TPU_ACCELERATOR, such as tpu-v5-lite-podslice, and TPU_TOPOLOGY, such as 4x4), RESTARTS (10).
# The pods' service account may read pods, jobs and services: JAX finds the processes so. Not run on a cluster by us.
set -euo pipefail
source "$(dirname "$0")/common.sh"
expect 3 "NAME IMAGE CONFIG" "$@"
name="$1" image="$2"
shift 2
hosts="${HOSTS:-2}"
resource="${RESOURCE:-nvidia.com/gpu}"
quoted() { printf '"%s"' "$(sed 's/\\/\\\\/g; s/"/\\"/g' <<< "$1")"; }
arguments=
for word in aigc-jax train "$@" --distributed; do arguments+="${arguments:+, }$(quoted "$word")"; done
selector=
if [ -n "${TPU_ACCELERATOR:-}" ]; then
  selector="
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $TPU_ACCELERATOR
                cloud.google.com/gke-tpu-topology: ${TPU_TOPOLOGY:?set TPU_TOPOLOGY, such as 4x4}"
fi
manifest=$(
  cat << YAML
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
spec:
  failurePolicy:
    maxRestarts: ${RESTARTS:-10}
  replicatedJobs:
    - name: workers
      replicas: 1
      template:
        spec:
          completionMode: Indexed
          parallelism: $hosts
          completions: $hosts
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 120$selector
              containers:
                - name: train
                  image: $(quoted "$image")
                  command: [$arguments]
                  workingDir: /runs
                  resources:
                    limits:
                      $resource: ${CHIPS:-8}
                  volumeMounts:
                    - name: runs
                      mountPath: /runs
              volumes:
                - name: runs
                  persistentVolumeClaim:
                    claimName: ${VOLUME:-aigc-jax}
YAML
)
feed YAML "$manifest" kubectl apply -f -
