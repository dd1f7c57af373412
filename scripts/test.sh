#!/usr/bin/env bash
# Lint, types and all tests; then a few tests once more with checked array shapes, compiled as users compile.
# Arguments are passed to pytest, and take the place of the latter: scripts/test.sh -m "not slow"
set -euo pipefail
case "${1:-}" in
  -h | --help)
    sed -n '2,/^set /p' "$0" | grep '^#' | cut -c3-
    exit 0
    ;;
esac
cd "$(dirname "$0")/.."
source scripts/setup.sh
setup_venv "[test]"
echo "== lint"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
echo "== types"
.venv/bin/pyright --pythonpath .venv/bin/python
echo "== tests"
.venv/bin/python -m pytest -n 2 --dist loadgroup "$@"
if [ $# -eq 0 ]; then
  echo "== checked shapes"
  .venv/bin/python -m pytest -n 2 --dist loadgroup --thorough -m "not slow or checked" tests/contracts tests/nets tests/samplers
fi
