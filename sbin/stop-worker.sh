#!/usr/bin/env bash
# Stops all workers that were started on this host, however many SPARK_WORKER_INSTANCES says now.
set -u
sbin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
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
