#!/usr/bin/env bash
# Starts the workers on every host of conf/workers; arguments go to each worker.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"
. "$sbin/workers-list.sh"

master="$(master_host)"
case "$master" in
  # A master that listens everywhere is known by its host's name, as it says itself.
  0.0.0.0 | :: | '[::]') master="$(uname -n)" ;;
esac
# other_host: prints the first worker's host that is not this one.
other_host() {
  local host
  while read -r host; do
    if ! is_loopback "$host" && [ "$host" != "$(uname -n)" ]; then
      echo "$host"
      return
    fi
  done < <(worker_hosts)
}

host="$(other_host)"
if [ -n "$host" ] && is_loopback "$master"; then
  cat >&2 <<TEXT
start-workers.sh: conf/workers names $host, but the master is only reachable on this host ($master). Add
  to conf/spark-env.sh:         SPARK_MASTER_HOST=$(uname -n)
  to conf/spark-defaults.conf:  spark.authenticate.secret.file  /path/to/a/file/that/only/you/can/read
on every host, with the same secret in the file. (spark.authenticate false instead of the second line lets in everyone
who can reach these hosts.)
TEXT
  exit 1
fi
if [ -n "$host" ] && [ "$master" = "$(master_host)" ] && command -v getent >/dev/null; then
  read -r address _ < <(getent ahosts "$master")
  if is_loopback "${address:-}"; then
    echo "start-workers.sh: $master is $address on this host, where $host cannot reach it; set SPARK_MASTER_HOST to an" \
      "address of this host, or to 0.0.0.0" >&2
  fi
fi

# shellcheck disable=SC2016
exec "$sbin/workers.sh" sh -c 'cd "$0" && exec "$@"' "$SPARK_HOME" sbin/start-worker.sh \
  "spark://$(host_in_url "$master"):${SPARK_MASTER_PORT:-7077}" "$@"
