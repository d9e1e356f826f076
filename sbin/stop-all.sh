#!/usr/bin/env bash
# Stops the workers on every host of conf/workers, then the master on this host.
set -u
sbin="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
status=0
"$sbin/stop-workers.sh" || status=1
"$sbin/stop-master.sh" || status=1
exit "$status"
