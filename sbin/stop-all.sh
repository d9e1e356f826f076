#!/usr/bin/env bash
# Stops the workers on every host of conf/workers, then the master on this host.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"
status=0
"$sbin/stop-workers.sh" || status=1
"$sbin/stop-master.sh" || status=1
exit "$status"
