#!/usr/bin/env bash
# Apicurio Registry on loopback, in memory: another registry with Confluent's REST API, to hold ours against.
#   registry.sh start DIR PORT   prints its URL when it is ready. PORT is the API, PORT+1 its health page
#   registry.sh stop DIR
#   registry.sh fetch            fetches the program, and starts nothing
#   registry.sh java             prints the Java it would run on; fails without one
# Needs Java 21 or newer (the newest under /usr/lib/jvm, or JAVA_HOME), and Maven the first time. The program is kept in $KAFKA_CACHE (default ~/.cache/hirewire-kafka).
set -euo pipefail
version=3.3.3
cache=${KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hirewire-kafka}
app=$cache/apicurio-$version

. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

new_java() {
  local java major
  for java in ${JAVA_HOME:+"$JAVA_HOME/bin/java"} /usr/lib/jvm/*/bin/java java; do
    major=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' || true)
    [ "${major:-0}" -lt 21 ] || { echo "$java"; return; }
  done
  die "Apicurio Registry needs Java 21 or newer: install one, or set JAVA_HOME"
}

fetch() {
  [ ! -d "$app" ] || return 0
  command -v mvn >/dev/null || die "no mvn found: Apache Maven fetches the registry (Debian package: maven)"
  echo "fetching Apicurio Registry into $app (once, 160 MB)" >&2
  local part=$app.$$
  mkdir -p "$part"
  mvn -q -B dependency:copy -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" -DoutputDirectory="$part" >"$cache/mvn.log" 2>&1 ||
    { cat "$cache/mvn.log" >&2; die "mvn could not fetch it"; }
  tar xzf "$part"/*.tar.gz -C "$part"
  rm "$part"/*.tar.gz
  mv -T "$part" "$app" 2>/dev/null || rm -rf "$part"   # another start was quicker
}

start() {
  local java port=$1 url=http://127.0.0.1:$1/apis/ccompat/v7 until=$((SECONDS + 120))
  java=$(new_java)
  fetch
  alive && die "a registry already runs in $dir"
  mkdir -p "$dir"
  QUARKUS_HTTP_HOST=127.0.0.1 QUARKUS_HTTP_PORT=$port QUARKUS_MANAGEMENT_HOST=127.0.0.1 QUARKUS_MANAGEMENT_PORT=$((port + 1)) APICURIO_STORAGE_KIND=sql \
    setsid "$java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dfolder="$dir" -jar "$app/quarkus-run.jar" >"$dir/registry.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  # The first POST to a cold one is often never answered: ours is given up and sent again until it is.
  until curl -sf -m 2 -o /dev/null -X POST -H 'Content-Type: application/json' -d '{"schema":"\"string\""}' "$url/compatibility/subjects/none/versions/latest"; do
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || { tail -n 20 "$dir/registry.log" >&2; die "it ended while it started"; }
    [ $SECONDS -lt $until ] || { tail -n 20 "$dir/registry.log" >&2; die "it is not ready after 120 s"; }
    sleep 0.1
  done
  # Its own default is NONE; Confluent's is BACKWARD.
  curl -sf -m 5 -o /dev/null -X PUT -H 'Content-Type: application/json' -d '{"compatibility":"BACKWARD"}' "$url/config"
  echo "$url"
}

command=${1:-}
case $command in
  start | stop) dir=$(realpath -m "${2:?which folder?}") ;;
esac
case $command in
  start) start "${3:?which port?}" ;;
  fetch) fetch ;;
  java) new_java ;;
  stop) stop ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
