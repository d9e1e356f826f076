#!/usr/bin/env bash
# Stops the master of this host.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"
exec "$sbin/spark-daemon.sh" stop firesteel-master 1
