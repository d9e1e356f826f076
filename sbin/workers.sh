#!/usr/bin/env bash
# Runs a command on every host of conf/workers (conf/slaves when that is absent, localhost when both are): directly for
# this host, by ssh for others. Exit status 0 only when it was 0 on each.
set -u
sbin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$sbin/spark-config.sh"
. "$sbin/workers-list.sh"

[ $# -ge 1 ] || fail "usage: workers.sh COMMAND [ARGUMENT...]"

# on_host HOST COMMAND...: its output with the host's name before each line, its exit status.
on_host() {
  local host=$1 line
  shift
  if is_loopback "$host" || [ "$host" = "$(uname -n)" ]; then
    "$@" 2>&1 </dev/null | sed "s/^/$host: /"
  else
    printf -v line '%q ' "$@"
    # Several options stand in one variable, as in Spark.
    # shellcheck disable=SC2086
    ssh ${SPARK_SSH_OPTS:--o StrictHostKeyChecking=no} "$host" "$line" 2>&1 </dev/null | sed "s/^/$host: /"
  fi
  return "${PIPESTATUS[0]}"
}

status=0
jobs=()
first=1
while read -r host; do
  if [ -z "$first" ] && [ -n "${SPARK_WORKER_SLEEP:-}" ]; then
    sleep "$SPARK_WORKER_SLEEP"
  fi
  first=
  if [ -n "${SPARK_SSH_FOREGROUND:-}" ]; then
    on_host "$host" "$@" || status=1
  else
    on_host "$host" "$@" &
    jobs+=($!)
  fi
done < <(worker_hosts)
for job in ${jobs[@]+"${jobs[@]}"}; do
  wait "$job" || status=1
done
exit "$status"
