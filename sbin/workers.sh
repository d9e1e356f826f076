#!/usr/bin/env bash
# Runs a command on every host of conf/workers (conf/slaves when that is absent, localhost when both are): directly for
# this host, by ssh for others. Exit status 0 only when it was 0 on each.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"
. "$sbin/workers-list.sh"

[ $# -ge 1 ] || fail "usage: workers.sh COMMAND [ARGUMENT...]"

# on_host HOST COMMAND...: its output with the host's name before each line, its exit status.
on_host() {
  local host=$1 line='' word
  shift
  if is_loopback "$host" || [ "$host" = "$(uname -n)" ]; then
    "$@" 2>&1 </dev/null | named "$host"
  else
    # In quotes that every shell knows: the other host's login shell need not be bash.
    for word; do
      line+="'${word//\'/\'\\\'\'}' "
    done
    # Several options stand in one variable, as in Spark.
    # shellcheck disable=SC2086
    ssh ${SPARK_SSH_OPTS:--o StrictHostKeyChecking=no} -- "$host" "$line" 2>&1 </dev/null | named "$host"
  fi
  return "${PIPESTATUS[0]}"
}

# named HOST: the input with the host's name before each line.
named() {
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%s: %s\n' "$1" "$line"
  done
}

failed=()
jobs=()
hosts=()
first=1
while read -r host; do
  if [ -z "$first" ] && [ -n "${SPARK_WORKER_SLEEP:-}" ]; then
    sleep "$SPARK_WORKER_SLEEP"
  fi
  first=
  if [ -n "${SPARK_SSH_FOREGROUND:-}" ]; then
    on_host "$host" "$@" || failed+=("$host")
  else
    on_host "$host" "$@" &
    jobs+=($!)
    hosts+=("$host")
  fi
done < <(worker_hosts)
for i in ${jobs[@]+"${!jobs[@]}"}; do
  wait "${jobs[$i]}" || failed+=("${hosts[$i]}")
done
[ ${#failed[@]} -eq 0 ] || fail "failed on ${failed[*]}"
