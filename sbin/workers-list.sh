# Sourced: worker_hosts prints the hosts of conf/workers, one a line, without comments.
# shellcheck shell=bash

worker_hosts() {
  local file
  for file in "${SPARK_WORKERS:-$SPARK_CONF_DIR/workers}" "$SPARK_CONF_DIR/slaves"; do
    if [ -f "$file" ]; then
      # The last line may lack its end, which `read` needs.
      { without_marks "$file" && echo; } | sed -e 's/#.*$//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^$/d'
      return
    fi
  done
  echo localhost
}
