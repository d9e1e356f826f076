#!/usr/bin/env bash
# Starts, stops, decommissions or looks at one daemon of this host:
#   spark-daemon.sh start  PROGRAM INSTANCE [ARGUMENT...]   returns when the daemon is ready, or fails with the end of its log
#   spark-daemon.sh stop   PROGRAM INSTANCE                 returns when its process is gone
#   spark-daemon.sh status PROGRAM INSTANCE                 exit status 0 while it runs
#   spark-daemon.sh decommission PROGRAM INSTANCE           tells it to leave the cluster, and returns at once
#   spark-daemon.sh wait   PROGRAM INSTANCE                 returns when it has ended by itself
# The pid file holds the process id and the process's start time, so that a number that the system has given to another
# process since is never taken for the daemon.
set -u
self="${BASH_SOURCE[0]}"
[ -L "$self" ] && self="$(readlink -f "$self")"
sbin="$(dirname "$self")"
[ -f "$sbin/spark-config.sh" ] || sbin="${SPARK_HOME:?is not set: set it to the directory of Firesteel}/sbin"
. "$sbin/spark-config.sh"

[ $# -ge 3 ] || fail "usage: spark-daemon.sh start|stop|status|decommission|wait PROGRAM INSTANCE [ARGUMENT...]"
action=$1
program=$2
instance=$3
shift 3
name="$program-$instance"
pid_file="$SPARK_PID_DIR/firesteel-$SPARK_IDENT_STRING-$name.pid"
ready_file="$SPARK_PID_DIR/firesteel-$SPARK_IDENT_STRING-$name.ready"
log="$SPARK_LOG_DIR/firesteel-$SPARK_IDENT_STRING-$name-${HOSTNAME:-$(uname -n)}.out"

# start_time PID: when the process started, in ticks since the host did; nothing when there is no such process, or only
# what its parent has not collected yet.
start_time() {
  local stat fields
  # The name in the second field may hold blanks and brackets: what follows its last bracket is regular.
  { stat="$(cat "/proc/$1/stat")"; } 2>/dev/null || return 0
  read -r -a fields <<<"${stat##*) }"
  [ "${fields[0]}" = Z ] || echo "${fields[19]}"
}

# running_pid: prints the daemon's process id when it runs.
running_pid() {
  local pid started
  [ -f "$pid_file" ] && read -r pid started <"$pid_file" || return 0
  case "$pid" in '' | *[!0-9]*) return 0 ;; esac
  if [ -n "${started:-}" ] && [ "$(start_time "$pid")" = "$started" ]; then
    echo "$pid"
  fi
}

# forget PID STARTED: removes the pid file, unless it is that of another process by now.
forget() {
  local pid started
  if command -v flock >/dev/null; then
    exec 9>"$pid_file.lock"
    flock -n 9 || return 0
  fi
  if [ -f "$pid_file" ] && read -r pid started <"$pid_file" && [ "$pid $started" = "$1 $2" ]; then
    rm -f "$pid_file" "$ready_file"
  fi
}

# wait_gone PID STARTED SECONDS: whether the process is gone in time.
wait_gone() {
  local deadline=$((SECONDS + $3))
  while [ "$(start_time "$1")" = "$2" ]; do
    [ "$SECONDS" -le "$deadline" ] || return 1
    sleep 0.05
  done
}

# end PID: asks it to end, then makes it.
end() {
  local started
  started="$(start_time "$1")"
  [ -n "$started" ] || return 0
  kill -TERM "$1" 2>/dev/null
  wait_gone "$1" "$started" "${SPARK_STOP_TIMEOUT:-10}" && return 0
  echo "$name ($1) did not end within ${SPARK_STOP_TIMEOUT:-10} s, killing it" >&2
  kill -KILL "$1" 2>/dev/null
  wait_gone "$1" "$started" 10
}

make_dir() {
  if ! (umask 077 && mkdir -p "$1") || ! [ -w "$1" ]; then
    fail "cannot write to $1: set $2 to a directory of your own"
  fi
}

rotate_log() {
  local keep=${SPARK_LOG_MAX_FILES:-5}
  [ -f "$log" ] || return 0
  while [ "$keep" -gt 1 ]; do
    [ -f "$log.$((keep - 1))" ] && mv -f "$log.$((keep - 1))" "$log.$keep"
    keep=$((keep - 1))
  done
  mv -f "$log" "$log.1"
}

# failed REASON: the start went wrong.
failed() {
  echo "$name $1; the end of $log:" >&2
  tail -n 10 "$log" | sed 's/^/  /' >&2
  [ -s "$log" ] || echo "  (nothing; is there room in $SPARK_LOG_DIR?)" >&2
  rm -f "$pid_file" "$ready_file"
  exit 1
}

start() {
  local binary pid deadline
  binary="$(find_program "$program")" || exit 1
  make_dir "$SPARK_PID_DIR" SPARK_PID_DIR
  make_dir "$SPARK_LOG_DIR" SPARK_LOG_DIR
  if command -v flock >/dev/null; then
    exec 9>"$pid_file.lock"
    flock -n 9 || fail "another start or stop of $name is under way"
  fi
  pid="$(running_pid)"
  if [ -n "$pid" ]; then
    fail "$name is already running as process $pid; stop it first"
  fi
  rm -f "$ready_file"
  if [ -n "${SPARK_NO_DAEMONIZE:-}" ]; then
    exec nice -n "${SPARK_NICENESS:-0}" "$binary" "$@" 9>&-
  fi
  rotate_log
  # For this user alone; what the daemon starts has the usual mask.
  (umask 077 && : >"$log") || fail "cannot create $log: make room there, or set SPARK_LOG_DIR to another directory"
  # Nobody could stop a daemon whose number is not written down.
  (umask 077 && echo >"$pid_file") || fail "cannot write $pid_file: make room there, or set SPARK_PID_DIR to another directory"
  echo "starting $name, logging to $log"
  # A session of its own: a Ctrl-C in this terminal is not for the daemon.
  setsid nice -n "${SPARK_NICENESS:-0}" "$binary" --ready-file "$ready_file" "$@" >>"$log" 2>&1 </dev/null 9>&- &
  pid=$!
  if ! echo "$pid $(start_time "$pid")" >"$pid_file"; then
    end "$pid"
    rm -f "$pid_file" "$ready_file"
    fail "cannot write $pid_file: make room there, or set SPARK_PID_DIR to another directory"
  fi
  deadline=$((SECONDS + ${FIRESTEEL_START_TIMEOUT:-30}))
  while [ ! -e "$ready_file" ]; do
    if [ -z "$(running_pid)" ]; then
      wait "$pid"
      failed "ended with exit status $?"
    fi
    if [ "$SECONDS" -gt "$deadline" ]; then
      end "$pid"
      failed "was not ready within ${FIRESTEEL_START_TIMEOUT:-30} s and was stopped"
    fi
    sleep 0.02
  done
  echo "$name is ready: $(cat "$ready_file")"
  rm -f "$ready_file"
}

stop() {
  local pid
  pid="$(running_pid)"
  if [ -z "$pid" ]; then
    echo "no $name to stop"
    rm -f "$pid_file" "$ready_file"
    return
  fi
  echo "stopping $name ($pid)"
  end "$pid" || fail "$name ($pid) cannot be stopped"
  rm -f "$pid_file" "$ready_file"
}

decommission() {
  local pid
  pid="$(running_pid)"
  if [ -z "$pid" ]; then
    echo "no $name to decommission"
    return
  fi
  echo "decommissioning $name ($pid)"
  kill -PWR "$pid" || fail "$name ($pid) cannot be told to leave"
}

# However long it takes: what its executors hold has to be moved.
wait_until_ended() {
  local pid started
  if [ -f "$pid_file" ] && read -r pid started <"$pid_file"; then
    # This process, not one that is started after it.
    while [ -n "${started:-}" ] && [ "$(start_time "$pid")" = "$started" ]; do
      sleep 0.1
    done
    forget "$pid" "${started:-}"
  fi
  echo "$name has ended"
}

case "$action" in
  start) start "$@" ;;
  stop) stop ;;
  decommission) decommission ;;
  wait) wait_until_ended ;;
  status)
    pid="$(running_pid)"
    if [ -z "$pid" ]; then
      echo "$name is not running"
      exit 3
    fi
    echo "$name runs as process $pid"
    ;;
  *) fail "unknown action $action: start, stop, status, decommission or wait" ;;
esac
