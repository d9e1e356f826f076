#!/usr/bin/env bash
# Stops the workers on every host of conf/workers.
set -u
sbin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$sbin/spark-config.sh"
exec "$sbin/workers.sh" "$SPARK_HOME/sbin/stop-worker.sh"
