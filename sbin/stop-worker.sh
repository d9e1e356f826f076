#!/usr/bin/env bash
# Stops all workers that were started on this host, however many SPARK_WORKER_INSTANCES says now.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"

status=0
found=
for file in "$SPARK_PID_DIR/firesteel-$SPARK_IDENT_STRING-firesteel-worker-"*.pid; do
  [ -f "$file" ] || continue
  found=1
  instance=${file##*-firesteel-worker-}
  "$sbin/spark-daemon.sh" stop firesteel-worker "${instance%.pid}" || status=1
done
[ -n "$found" ] || echo "no firesteel-worker to stop"
exit "$status"
