#!/usr/bin/env bash
# Stops the workers on every host of conf/workers.
set -u
sbin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$sbin/spark-config.sh"
# shellcheck disable=SC2016
exec "$sbin/workers.sh" sh -c 'cd "$0" && exec "$@"' "$SPARK_HOME" sbin/stop-worker.sh
