#!/usr/bin/env bash
# Stops the master of this host.
exec "$(dirname "${BASH_SOURCE[0]}")/spark-daemon.sh" stop firesteel-master 1
