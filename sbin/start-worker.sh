#!/usr/bin/env bash
# Starts the workers of this host, SPARK_WORKER_INSTANCES of them:
#   start-worker.sh MASTER_URL [-c CORES] [-m MEMORY] [-d DIR] [-h HOST] [-p PORT] [--webui-port PORT]
#     [--properties-file FILE]
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"

if [ $# -lt 1 ] || [ "$1" = --help ]; then
  echo "usage: sbin/start-worker.sh spark://HOST:PORT [-c CORES] [-m MEMORY] [-d DIR] [-h HOST] [-p PORT]" \
    "[--webui-port PORT] [--properties-file FILE]"
  [ "${1:-}" = --help ]
  exit
fi

instances=${SPARK_WORKER_INSTANCES:-1}
case "$instances" in
  '' | *[!0-9]* | 0) fail "bad value '$instances' of SPARK_WORKER_INSTANCES: write a whole number from 1" ;;
esac
case "${SPARK_WORKER_PORT:-0}" in
  *[!0-9]*) fail "bad value '$SPARK_WORKER_PORT' of SPARK_WORKER_PORT: write the number of a port" ;;
esac
case "${SPARK_WORKER_WEBUI_PORT:-0}" in
  *[!0-9]*) fail "bad value '$SPARK_WORKER_WEBUI_PORT' of SPARK_WORKER_WEBUI_PORT: write the number of a port" ;;
esac

status=0
for ((i = 1; i <= instances; i++)); do
  arguments=()
  if [ -n "${SPARK_WORKER_PORT:-}" ] && [ "$SPARK_WORKER_PORT" -gt 0 ]; then
    arguments+=(--port $((SPARK_WORKER_PORT + i - 1)))
  fi
  if [ -n "${SPARK_WORKER_WEBUI_PORT:-}" ] && [ "$SPARK_WORKER_WEBUI_PORT" -gt 0 ]; then
    arguments+=(--webui-port $((SPARK_WORKER_WEBUI_PORT + i - 1)))
  fi
  # Each worker cleans up its own directory, so two cannot share one.
  if [ "$instances" -gt 1 ]; then
    arguments+=(--work-dir "${SPARK_WORKER_DIR:-$SPARK_HOME/work}/worker-$i")
  fi
  "$sbin/spark-daemon.sh" start firesteel-worker "$i" ${arguments[@]+"${arguments[@]}"} "$@" || status=1
done
exit "$status"
