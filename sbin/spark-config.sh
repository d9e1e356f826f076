# Sourced by every script here and in bin/: where things are, and what conf/spark-env.sh says.
# Sets SPARK_HOME, SPARK_CONF_DIR, SPARK_LOG_DIR, SPARK_PID_DIR and SPARK_IDENT_STRING.
# shellcheck shell=bash

if [ -z "${SPARK_HOME:-}" ]; then
  SPARK_HOME="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
fi
export SPARK_HOME
export SPARK_CONF_DIR="${SPARK_CONF_DIR:-$SPARK_HOME/conf}"

if [ -z "${SPARK_ENV_LOADED:-}" ]; then
  export SPARK_ENV_LOADED=1
  if [ -f "$SPARK_CONF_DIR/spark-env.sh" ]; then
    set -a
    # shellcheck source=/dev/null
    . "$SPARK_CONF_DIR/spark-env.sh"
    set +a
  fi
fi

export SPARK_LOG_DIR="${SPARK_LOG_DIR:-$SPARK_HOME/logs}"
export SPARK_PID_DIR="${SPARK_PID_DIR:-$SPARK_HOME/pids}"
export SPARK_IDENT_STRING="${SPARK_IDENT_STRING:-${USER:-$(id -un)}}"

# fail TEXT: says why on stderr and ends the script.
fail() {
  echo "$(basename "$0"): $1" >&2
  exit 1
}

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
