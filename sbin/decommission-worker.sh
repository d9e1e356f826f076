#!/usr/bin/env bash
# Has the workers of this host leave their cluster: they take no executors any more and end when they have none left.
#   decommission-worker.sh [--block-until-exit]     with it, this returns when they have ended
# It needs spark.decommission.enabled=true for the workers; without it they only log that, and stay.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"

block=
case "$#:${1:-}" in
  0:) ;;
  1:--block-until-exit) block=1 ;;
  1:--help)
    echo "usage: sbin/decommission-worker.sh [--block-until-exit]"
    exit
    ;;
  *) fail "usage: sbin/decommission-worker.sh [--block-until-exit]" ;;
esac

status=0
instances=()
for file in "$SPARK_PID_DIR/firesteel-$SPARK_IDENT_STRING-firesteel-worker-"*.pid; do
  [ -f "$file" ] || continue
  instance=${file##*-firesteel-worker-}
  instances+=("${instance%.pid}")
  "$sbin/spark-daemon.sh" decommission firesteel-worker "${instance%.pid}" || status=1
done
[ ${#instances[@]} -gt 0 ] || echo "no firesteel-worker to decommission"
if [ -n "$block" ]; then
  for instance in ${instances[@]+"${instances[@]}"}; do
    "$sbin/spark-daemon.sh" wait firesteel-worker "$instance" || status=1
  done
fi
exit "$status"
