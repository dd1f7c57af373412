# Sourced by quickstart.sh and test.sh: a virtual environment in .venv with the package and its extras.
# usage: setup_venv EXTRAS   (for example "" or "[test]")
setup_venv() {
  local python="${PYTHON:-}"
  if [ -z "$python" ]; then
    for candidate in python3.12 python3.11 python3; do
      if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python="$candidate"
        break
      fi
    done
  fi
  if [ -z "$python" ]; then
    echo "aigc_jax needs Python 3.11, 3.12 or 3.13: install one, or name it with PYTHON=/path/to/python" >&2
    exit 2
  fi
  if [ ! -x .venv/bin/python ]; then
    echo "== creating .venv with $("$python" --version)"
    "$python" -m venv .venv
  fi
  # Installed anew only when what is to be installed has changed.
  local wanted
  wanted="$1 $(cat pyproject.toml constraints.txt | cksum)"
  if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    echo "== installing aigc_jax$1"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$1"
    echo "$wanted" > .venv/installed
  fi
}
