#!/usr/bin/env bash
# A real PostgreSQL on loopback, for the tests.
#   postgres.sh start DIR PORT   prints its URL when it is ready        postgres.sh stop DIR
# Needs the server's binaries (Debian package: postgresql). As root it runs as the user `postgres`, for the server refuses root.
set -euo pipefail
dir=$(realpath -m "${2:?which folder?}")
bin=$(pg_config --bindir 2>/dev/null || ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
[ -x "$bin/initdb" ] || { echo "postgres.sh: no PostgreSQL server found (Debian package: postgresql)" >&2; exit 1; }
as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --clear-groups env HOME="$dir" "$@"; else "$@"; fi; }
case ${1:-} in
  start)
    port=${3:?which port?}
    mkdir -p "$dir"
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$dir"
    [ -d "$dir/data" ] || as "$bin/initdb" -D "$dir/data" -U hirewire -A trust -E UTF8 --no-sync >"/dev/null"
    as "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -o "-p $port -k $dir -c listen_addresses=127.0.0.1" start >/dev/null || { cat "$dir/log" >&2; exit 1; }
    echo "postgres://hirewire@127.0.0.1:$port/postgres" ;;
  stop) as "$bin/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null ;;
  *) sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
