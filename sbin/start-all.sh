#!/usr/bin/env bash
# Starts the master on this host, unless it runs already, and the workers on every host of conf/workers.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"
if running="$("$sbin/spark-daemon.sh" status firesteel-master 1)"; then
  echo "$running already"
else
  "$sbin/start-master.sh" || exit
fi
exec "$sbin/start-workers.sh"
