#!/usr/bin/env bash
# A real Apache Kafka on loopback for the tests: one node, or three.
#   kafka.sh start DIR PORT   starts (or goes on with) the node that lives in DIR; prints its address when it is ready.
#                             PORT is plain, PORT+1 the controller, PORT+2 SASL_SSL (user svc, password svc-secret, CA DIR/tls/ca.crt)
#   kafka.sh cluster DIR PORT starts three nodes in DIR/1, DIR/2, DIR/3, with ports from PORT, PORT+10, PORT+20; prints their addresses.
#                             Topics have three replicas, and a write is acknowledged by two at least
#                             With KAFKA_AUTHORIZER=1 either has an authorizer: who comes by the plain listener may do everything, as may svc
#   kafka.sh again DIR        starts the node of DIR as it was started last
#   kafka.sh kill DIR         SIGKILL        kafka.sh stop DIR    SIGTERM, then SIGKILL after 20 s; the data stays
#   kafka.sh fetch            fetches the jars, and starts nothing
#   kafka.sh tool CLASS ARGS  a command-line class of Kafka's, e.g. `tool TopicCommand --list --bootstrap-server …`
#   kafka.sh tools            such commands from the standard input, a line each, with the whole name of their class; ends at the first that fails
# Needs Java 17 or newer, and Maven the first time. The jars are kept in $KAFKA_CACHE (default ~/.cache/hirewire-kafka).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hirewire-kafka}
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
# Starts in half the time and stays under 300 MB; for benchmarks set KAFKA_JVM="-Xms1g -Xmx1g -XX:+UseG1GC".
jvm=${KAFKA_JVM:--Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}

. "$here/process.sh"

jars() {
  command -v "$java" >/dev/null || die "no java found: install a JDK, 17 or newer, or set JAVA_HOME"
  libs=$cache/$(sha256sum "$here/pom.xml" | cut -c1-12)
  [ -d "$libs" ] && return
  command -v mvn >/dev/null || die "no mvn found: Apache Maven fetches Kafka's jars (Debian package: maven)"
  echo "fetching Kafka's jars into $libs (once)" >&2
  mkdir -p "$cache"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$libs.$$" >"$cache/mvn.log" 2>&1 ||
    { cat "$cache/mvn.log" >&2; die "mvn could not fetch the jars"; }
  mv -T "$libs.$$" "$libs" 2>/dev/null || rm -rf "$libs.$$"   # another start was quicker
}

certificates() {
  [ -f "$dir/tls/ca.crt" ] && return
  mkdir -p "$dir/tls"
  ( cd "$dir/tls"
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=hirewire test CA" -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj "/CN=127.0.0.1" -keyout server.key -out server.csr
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out server.crt -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost")
    cat server.key server.crt ca.crt >server.pem ) >/dev/null 2>&1 || die "openssl could not make the test certificates"
}

# Lays the node $1 of $2 in $dir, on ports from $3, with the controllers $4; the rest is given to the formatter.
lay() {
  local node=$1 nodes=$2 port=$3 quorum=$4; shift 4
  jars
  if alive; then die "a node already runs in $dir"; fi
  mkdir -p "$dir"
  certificates
  sed -e "s|@DIR@|$dir|g; s|@PORT@|$port|g; s|@CPORT@|$((port + 1))|g; s|@SASLPORT@|$((port + 2))|g; s|@NODE@|$node|g; s|@QUORUM@|$quorum|g" \
    -e "s|@REPLICAS@|$nodes|g; s|@ISR@|$(((nodes + 1) / 2))|g" "$here/server.properties" >"$dir/server.properties"
  [ -z "${KAFKA_AUTHORIZER:-}" ] || cat >>"$dir/server.properties" <<'P'
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:svc
P
  "$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" -Dlog4j2.configurationFile="$here/log4j2.properties" \
    kafka.tools.StorageTool format --ignore-formatted -t hirewire-test-clusterw -c "$dir/server.properties" "$@" \
    --add-scram 'SCRAM-SHA-512=[name=svc,password=svc-secret]' >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; die "formatting failed"; }
}

# Starts the node that is laid in $dir.
run() {
  # shellcheck disable=SC2086
  setsid "$java" $jvm -cp "$libs/*" -Dlog4j2.configurationFile="$here/log4j2.properties" kafka.Kafka "$dir/server.properties" \
    >"$dir/server.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
}

# A class of the command line, or a source, in place of this process.
command_line() {
  jars
  exec "$java" -Xmx512m -cp "$libs/*" -Dlog4j2.configurationFile="$here/log4j2.properties" "$@"
}

await() {
  local until=$((SECONDS + 120))
  until grep -qs "Kafka Server started" "$dir/server.log"; do
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || { tail -n 20 "$dir/server.log" >&2; die "the node ended while it started"; }
    [ $SECONDS -lt $until ] || { tail -n 20 "$dir/server.log" >&2; die "the node is not ready after 120 s"; }
    sleep 0.05
  done
}

start() {
  local port=$1
  lay 1 1 "$port" "127.0.0.1:$((port + 1))" --standalone
  run
  await
  echo "127.0.0.1:$port"
}

again() {
  [ -f "$dir/server.properties" ] || die "no node was ever started in $dir"
  jars
  if alive; then die "a node already runs in $dir"; fi
  run
  await
}

cluster() {
  local all=$dir port=$1 node quorum="" controllers="" addresses=""
  for node in 1 2 3; do
    local own=$((port + 10 * (node - 1)))
    addresses+=,127.0.0.1:$own
    quorum+=,127.0.0.1:$((own + 1))
    controllers+=,$node@127.0.0.1:$((own + 1)):hirewire-directory-$node-w
  done
  for node in 1 2 3; do
    dir=$all/$node
    lay $node 3 $((port + 10 * (node - 1))) "${quorum#,}" --initial-controllers "${controllers#,}"
    run
  done
  for node in 1 2 3; do dir=$all/$node; await; done
  echo "${addresses#,}"
}

command=${1:-}
case $command in
  start | cluster | again | stop | kill) dir=$(realpath -m "${2:?which folder?}") ;;
esac
case $command in
  start) start "${3:?which port?}" ;;
  cluster) cluster "${3:?which port?}" ;;
  again) again ;;
  stop) stop ;;
  kill) alive || die "no node runs in $dir"; kill -KILL "$(cat "$dir/pid")"; rm "$dir/pid" ;;
  fetch) jars ;;
  tool)
    shift; class=${1:?which class?}; shift
    case $class in *.*) ;; *) class=org.apache.kafka.tools.$class ;; esac
    command_line "$class" "$@" ;;
  tools) command_line "$here/Each.java" ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
