# Sourced by every script here and in bin/: where things are, and what conf/spark-env.sh says.
# Sets SPARK_HOME, SPARK_CONF_DIR, SPARK_LOG_DIR, SPARK_PID_DIR and SPARK_IDENT_STRING.
# shellcheck shell=bash

sbin="$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# Behind a link to a directory, `..` is another place for the shell than for the system, which has found this file.
if ! [ "$sbin/spark-config.sh" -ef "${BASH_SOURCE[0]}" ]; then
  sbin="$(CDPATH='' cd -P -- "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
fi
if [ -z "${SPARK_HOME:-}" ]; then
  SPARK_HOME="$(cd "$sbin/.." && pwd)"
  [ "$SPARK_HOME/sbin" -ef "$sbin" ] || SPARK_HOME="$(cd -P "$sbin/.." && pwd)"
fi
export SPARK_HOME
export SPARK_CONF_DIR="${SPARK_CONF_DIR:-$SPARK_HOME/conf}"

# fail TEXT: says why on stderr and ends the script.
fail() {
  echo "$(basename "$0"): $1" >&2
  exit 1
}

# without_marks FILE: its text without what editors of Windows add, a byte order mark and carriage returns at line ends.
without_marks() {
  LC_ALL=C sed -e $'1s/^\xef\xbb\xbf//' -e $'s/\r$//' "$1"
}

if [ -z "${SPARK_ENV_LOADED:-}" ]; then
  export SPARK_ENV_LOADED=1
  if [ -f "$SPARK_CONF_DIR/spark-env.sh" ]; then
    # Whatever it does to the shell's options and directory, the script goes on as it was; what it prints is not the
    # script's output; and where it ends the script, that is said.
    options_before="$(set +o)"
    directory_before=$PWD
    trap 'fail "$SPARK_CONF_DIR/spark-env.sh has ended this script (exit status $?)"' EXIT
    set +u -a
    # shellcheck source=/dev/null
    if LC_ALL=C grep -q -e $'\r$' -e $'^\xef\xbb\xbf' "$SPARK_CONF_DIR/spark-env.sh"; then
      . <(without_marks "$SPARK_CONF_DIR/spark-env.sh") >&2
    else
      . "$SPARK_CONF_DIR/spark-env.sh" >&2
    fi
    eval "$options_before"
    trap - EXIT
    [ "$PWD" = "$directory_before" ] || cd "$directory_before" || fail "cannot return to $directory_before"
    unset options_before directory_before
  fi
fi
# A file of variables from Windows, such as of a container, has the same line ends.
for name in "${!SPARK_@}" "${!FIRESTEEL_@}"; do
  case "${!name}" in
    *$'\r') fail "the value of $name ends in a carriage return, as lines do on Windows: take it out where it is set" ;;
  esac
done
unset name

export SPARK_LOG_DIR="${SPARK_LOG_DIR:-$SPARK_HOME/logs}"
export SPARK_PID_DIR="${SPARK_PID_DIR:-$SPARK_HOME/pids}"
export SPARK_IDENT_STRING="${SPARK_IDENT_STRING:-${USER:-$(id -un)}}"

# find_program NAME: prints the path of one of Firesteel's programs.
find_program() {
  local dir
  for dir in "${FIRESTEEL_BIN_DIR:-}" "$SPARK_HOME/libexec" "$SPARK_HOME/target/release" "$SPARK_HOME/target/debug"; do
    if [ -n "$dir" ] && [ -x "$dir/$1" ]; then
      echo "$dir/$1"
      return
    fi
    if [ -n "${FIRESTEEL_BIN_DIR:-}" ]; then
      echo "$(basename "$0"): there is no program $1 in FIRESTEEL_BIN_DIR=$FIRESTEEL_BIN_DIR" >&2
      return 1
    fi
  done
  echo "$(basename "$0"): cannot find the program $1: build it with 'cargo build --release' in $SPARK_HOME," \
    "or set FIRESTEEL_BIN_DIR to where it is" >&2
  return 1
}

# The address that start-master.sh binds to and start-workers.sh sends workers to.
master_host() {
  echo "${SPARK_MASTER_HOST:-${SPARK_LOCAL_IP:-127.0.0.1}}"
}

# host_in_url HOST: an IPv6 address needs brackets.
host_in_url() {
  case "$1" in
    \[*) echo "$1" ;;
    *:*) echo "[$1]" ;;
    *) echo "$1" ;;
  esac
}

is_loopback() {
  case "$1" in
    localhost | 127.* | ::1 | '[::1]') return 0 ;;
    *) return 1 ;;
  esac
}
