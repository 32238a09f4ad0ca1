# Prometheus reads no variables in its configuration, so that the address is put in here.
set -eu
sed "s/SERVING_ADDRESS/$SERVING_HOST:$REST_PORT/" "$TEMPLATE" > "${TMPDIR:-/tmp}/prometheus.yml"
exec prometheus "--config.file=${TMPDIR:-/tmp}/prometheus.yml" "$@"
