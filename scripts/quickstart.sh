#!/usr/bin/env bash
# From a machine with only Python and git to generated digits and a report of how reliable they are.
# Usage: bash scripts/quickstart.sh [RUN], the run directory; runs/quickstart by default.
set -euo pipefail
case "${1:-}" in
  -h | --help)
    sed -n '2,/^set /p' "$0" | grep '^#' | cut -c3-
    exit 0
    ;;
esac
cd "$(dirname "$0")/.."
source scripts/setup.sh
started=$(date +%s)
setup_venv ""
run="${1:-runs/quickstart}"

echo "== training gan_digits on 4,000 real handwritten digits"
.venv/bin/aigc-jax train gan_digits --workdir "$run"
echo "== drawing samples: a row per class"
.venv/bin/aigc-jax sample "$run" --num 100 --out "$run/samples/grid.png"
echo "== the reliability report, of 5,000 samples"
.venv/bin/aigc-jax evaluate "$run"
echo
echo "done in $(($(date +%s) - started)) s"
echo "  pictures     $run/samples/grid.png, and one for each 500 steps beside it"
echo "  report       $run/report/index.html (open it in a browser), $run/report/report.json"
echo "  curves       $run/metrics.jsonl"
echo "  checkpoints  $run/checkpoints"
