# What has to be there before the services start. Made once; run again, it changes nothing that is there.
# Reads ZOO_HOME, ZOO_UID, ZOO_GID, SECRETS, POSTGRES_UID, MLFLOW_UID, POSTGRES_PASSWORD, POSTGRES_PASSWORD_FILE, and the
# file CALLED_WITH, the docker-compose.yml of the folder that the command was called in (a folder where ZOO_HOME is given).
set -euo pipefail

if [ -f "$CALLED_WITH" ] && ! grep -q '^name: conv-zoo$' "$CALLED_WITH"; then
  echo "docker compose was called in another project's folder, ${ZOO_HOME%/artifacts}: call it in the clone's root, or put" \
    "an absolute ZOO_HOME into .env." >&2
  exit 1
fi
if [ -d "${POSTGRES_PASSWORD_FILE:-/dev/null}" ]; then
  echo "POSTGRES_PASSWORD_FILE names a folder; give a file that holds the password." >&2
  exit 1
fi

home_owner="$ZOO_UID:$ZOO_GID"
models="$ZOO_HOME/models"
config="$models/models.config"

# Docker makes folders that are missing as root: root's with nothing in them become the services' own.
mkdir -p "$models"
for folder in "$models" "$ZOO_HOME/data" "$ZOO_HOME"; do
  if [ -d "$folder" ] && [ "$(stat -c %u "$folder")" = 0 ] &&
    [ -z "$(find "$folder" -mindepth 1 -maxdepth 1 ! -name models ! -name data -print -quit)" ]; then
    [ "$ZOO_UID" = 0 ] || echo "gave $folder to user $ZOO_UID (ZOO_UID)"
    chown "$home_owner" "$folder"
  fi
done

# A server without a model: it starts, and looks every few seconds whether one was published. By a link, which appears
# whole and never in place of what somebody has published meanwhile.
if [ ! -e "$config" ]; then
  draft="$models/.models.config.setup"
  printf 'model_config_list {\n}\n' > "$draft"
  chmod 644 "$draft"
  chown "$home_owner" "$draft"
  ln "$draft" "$config" 2>/dev/null || [ -e "$config" ]
  rm -f "$draft"
  echo "made $config, which serves nothing yet"
fi

owner=$(stat -c %u "$ZOO_HOME")
if [ "$owner" != "$ZOO_UID" ]; then
  echo "$ZOO_HOME belongs to user $owner and the services run as $ZOO_UID: put ZOO_UID=$owner and" \
    "ZOO_GID=$(stat -c %g "$ZOO_HOME") into .env, or run sudo chown -R $home_owner $ZOO_HOME; else searches cannot write" \
    "there." >&2
fi

# PostgreSQL's password: the given one, or that of the first start. Files only; nothing prints it.
umask 077
password_file="$SECRETS/postgres-password"
given="${POSTGRES_PASSWORD:-}"
if [ -z "$given" ] && [ -s "${POSTGRES_PASSWORD_FILE:-/dev/null}" ]; then
  given=$(< "$POSTGRES_PASSWORD_FILE")
fi
case "$given" in
  *$'\n'*) echo "The PostgreSQL password has several lines; give one." >&2; exit 1 ;;
esac
if [ -n "$given" ]; then
  password="$given"
elif [ -s "$password_file" ]; then
  password=$(< "$password_file")
else
  password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
  echo "made a password for PostgreSQL"
fi

# put FILE UID: standard input becomes the file, whole or not at all, for that user's eyes alone.
put() {
  cat > "$1.draft"
  chmod 400 "$1.draft"
  chown "$2:$2" "$1.draft"
  mv -f "$1.draft" "$1"
}

printf '%s' "$password" | put "$password_file" "$POSTGRES_UID"
# The format of PostgreSQL's clients, in which a backslash and a colon are written behind a backslash.
escaped=${password//\\/\\\\}
escaped=${escaped//:/\\:}
printf '*:*:*:*:%s\n' "$escaped" | put "$SECRETS/pgpass" "$MLFLOW_UID"
chmod 711 "$SECRETS"
