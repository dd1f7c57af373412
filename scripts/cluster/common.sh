# Sourced by the launchers of this folder: the head of their command lines. It takes --help and --dry-run off the words.
case "${1:-}" in
  -h | --help | "")
    sed -n '2,/^set /p' "$0" | grep '^#' | cut -c3-
    exit 0
    ;;
esac
is_dry=
if [ "$1" = --dry-run ]; then
  is_dry=1
  shift
fi

# Run a command; in a dry run print it.
run() {
  if [ -n "$is_dry" ]; then printf '%q ' "$@" && echo; else "$@"; fi
}

# Give a text to a command as its input; in a dry run print both: feed MARK TEXT COMMAND ...
feed() {
  local mark="$1" text="$2"
  shift 2
  if [ -n "$is_dry" ]; then printf '%s\n' "$* <<'$mark'" "$text" "$mark"; else "$@" <<< "$text"; fi
}

# Refuse too few words: expect NUM WORDS "$@"
expect() {
  local num="$1" words="$2"
  shift 2
  if [ $# -lt "$num" ]; then
    echo "$(basename "$0"): expected $words, got $# words: see bash $0 --help" >&2
    exit 2
  fi
}
