#!/usr/bin/env bash
# Lint, types and all tests. Arguments are passed to pytest: scripts/test.sh -m "not slow"
set -euo pipefail
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
