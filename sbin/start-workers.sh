#!/usr/bin/env bash
# Starts the workers on every host of conf/workers; arguments go to each worker.
set -u
sbin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$sbin/spark-config.sh"
. "$sbin/workers-list.sh"

master="$(master_host)"
if is_loopback "$master"; then
  while read -r host; do
    if ! is_loopback "$host" && [ "$host" != "$(uname -n)" ]; then
      cat >&2 <<TEXT
start-workers.sh: conf/workers names $host, but the master is only reachable on this host ($master). Add
  to conf/spark-env.sh:         SPARK_MASTER_HOST=$(uname -n)
  to conf/spark-defaults.conf:  spark.authenticate.secret.file  /path/to/a/file/that/only/you/can/read
on every host, with the same secret in the file. (spark.authenticate false instead of the second line lets in everyone
who can reach these hosts.)
TEXT
      exit 1
    fi
  done < <(worker_hosts)
fi

exec "$sbin/workers.sh" "$SPARK_HOME/sbin/start-worker.sh" \
  "spark://$(host_in_url "$master"):${SPARK_MASTER_PORT:-7077}" "$@"
