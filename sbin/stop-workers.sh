#!/usr/bin/env bash
# Stops the workers on every host of conf/workers.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"
# shellcheck disable=SC2016
exec "$sbin/workers.sh" sh -c 'cd "$0" && exec "$@"' "$SPARK_HOME" sbin/stop-worker.sh
