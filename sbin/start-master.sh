#!/usr/bin/env bash
# Starts the master on this host: start-master.sh [-h HOST] [-p PORT] [--webui-port PORT] [--properties-file FILE]
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"

case "${1:-}" in
  --help)
    echo "usage: sbin/start-master.sh [-h HOST] [-p PORT] [--webui-port PORT] [--properties-file FILE]"
    exit 0
    ;;
esac

exec "$sbin/spark-daemon.sh" start firesteel-master 1 \
  --host "$(master_host)" --port "${SPARK_MASTER_PORT:-7077}" "$@"
