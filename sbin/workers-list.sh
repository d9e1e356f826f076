# Sourced: worker_hosts prints the hosts of conf/workers, one a line, without comments.
# shellcheck shell=bash

worker_hosts() {
  local file
  for file in "${SPARK_WORKERS:-$SPARK_CONF_DIR/workers}" "$SPARK_CONF_DIR/slaves"; do
    if [ -f "$file" ]; then
      sed -e 's/#.*$//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$file"
      return
    fi
  done
  echo localhost
}
