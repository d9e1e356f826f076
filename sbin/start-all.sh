#!/usr/bin/env bash
# Starts the master on this host and the workers on every host of conf/workers.
set -u
sbin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
"$sbin/start-master.sh" && exec "$sbin/start-workers.sh"
