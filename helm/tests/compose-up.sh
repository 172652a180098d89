# docker-compose.yml really comes up, and what the simulated vendor tells reaches the receivers and the database. Sourced by check --compose.
# Images of Kafka, PostgreSQL, Prometheus and Grafana cannot be pulled where only package registries are reached: stand-ins with the same names are made of Kafka's own
# jars (e2e/kafka/kafka.sh has fetched them) and of Debian's packages, and read the same variables. They differ from the real ones in version (PostgreSQL 15, Prometheus 2.42). Grafana's is none at
# all: tests/grafana.py reads its provisioning as it is mounted, and asks Prometheus every query of the dashboards.
step "docker compose up"
[ -n "${HIREWIRE:-}" ] || { echo "helm/check --compose: name a built binary with --hirewire" >&2; exit 2; }
. tests/engine.sh
build_image "$HIREWIRE" >/dev/null
buildah tag hirewire:0.1.0 docker.io/library/hirewire:0.1.0

kafka_jars=$(ls -d "${KAFKA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hirewire-kafka}/$(sha256sum "$root/e2e/kafka/pom.xml" | cut -c1-12)")
jre=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
mkdir -p "$work/kafka/libs" "$work/kafka/jre"
cp "$kafka_jars"/*.jar "$work/kafka/libs/"
# Debian's JRE is links into other folders.
(cd "$jre" && tar -ch --exclude=jmods --exclude='*.zip' --exclude=demo --exclude=man .) | tar -x -C "$work/kafka/jre"
cat >"$work/kafka/start" <<'S'
#!/bin/sh
# As the real image: KAFKA_SOME_KEY is some.key of server.properties.
set -e
env | grep '^KAFKA_' | grep -v '^KAFKA_HEAP_OPTS=' | while IFS='=' read -r name value; do
  echo "$(echo "${name#KAFKA_}" | tr 'A-Z_' 'a-z.')=$value"
done >/tmp/server.properties
/opt/jre/bin/java -cp '/opt/kafka/libs/*' kafka.tools.StorageTool format --ignore-formatted -t 5L6g3nShT-eMCtK--X86sw -c /tmp/server.properties
exec /opt/jre/bin/java $KAFKA_HEAP_OPTS -cp '/opt/kafka/libs/*' kafka.Kafka /tmp/server.properties
S
cat >"$work/kafka/versions" <<'S'
#!/bin/sh
exec /opt/jre/bin/java -Xmx64m -cp '/opt/kafka/libs/*' org.apache.kafka.tools.BrokerApiVersionsCommand "$@"
S
cat >"$work/kafka/Dockerfile" <<'D'
FROM docker.io/library/debian:bookworm-slim
COPY jre /opt/jre
COPY libs /opt/kafka/libs
COPY start /start
COPY versions /opt/kafka/bin/kafka-broker-api-versions.sh
RUN chmod 755 /start /opt/kafka/bin/*.sh && mkdir -p /var/lib/kafka/data && chown 1000:1000 /var/lib/kafka/data
USER 1000:1000
VOLUME /var/lib/kafka/data
CMD ["/start"]
D
mkdir -p "$work/postgres"
cat >"$work/postgres/start" <<'S'
#!/bin/sh
set -e
data=/var/lib/postgresql/data bin=$(echo /usr/lib/postgresql/*/bin)
if [ ! -e $data/PG_VERSION ]; then
  echo "$POSTGRES_PASSWORD" >/tmp/password
  $bin/initdb -D $data -U "$POSTGRES_USER" -A scram-sha-256 --pwfile /tmp/password >/dev/null
  echo 'host all all all scram-sha-256' >>$data/pg_hba.conf
  echo "CREATE DATABASE $POSTGRES_DB" | $bin/postgres --single -D $data postgres >/dev/null
  sed -i 's/^local .*/local all all trust/' $data/pg_hba.conf
fi
exec $bin/postgres -D $data -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
S
cat >"$work/postgres/Dockerfile" <<'D'
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql
COPY start /start
RUN chmod 755 /start && rm -rf /var/lib/postgresql/* && mkdir -p /var/lib/postgresql/data /var/run/postgresql && chown -R postgres:postgres /var/lib/postgresql /var/run/postgresql
USER postgres
VOLUME /var/lib/postgresql/data
CMD ["/start"]
D
mkdir -p "$work/prometheus"
cat >"$work/prometheus/Dockerfile" <<'D'
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus && mkdir -p /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
VOLUME /prometheus
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
D
mkdir -p "$work/grafana"
cp tests/grafana.py "$work/grafana/"
cat >"$work/grafana/Dockerfile" <<'D'
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-yaml wget && mkdir -p /var/lib/grafana && chown 472:0 /var/lib/grafana
COPY grafana.py /grafana.py
USER 472
CMD ["python3", "/grafana.py"]
D
buildah build -q --pull-never --format docker -t docker.io/grafana/grafana:12.1.1 "$work/grafana" >/dev/null
buildah build -q --pull-never --format docker -t docker.io/apache/kafka:4.3.1 "$work/kafka" >/dev/null
buildah build -q --pull-never --format docker -t docker.io/library/postgres:17.6 "$work/postgres" >/dev/null
buildah build -q --pull-never --format docker -t docker.io/prom/prometheus:v3.5.0 "$work/prometheus" >/dev/null

socket=$work/podman.sock
command podman system service --time=0 "unix://$socket" >"$work/podman.log" 2>&1 &
engine=$!
compose_pids=($engine)
composed() { DOCKER_HOST=unix://$socket "$compose" --project-name hwcheck -f "$root/docker-compose.yml" "$@"; }
# Without systemd podman runs no health check by itself.
health() {
  while sleep 2; do
    for each in $(podman ps --quiet 2>/dev/null); do podman healthcheck run "$each" >/dev/null 2>&1 || true; done
  done
}
health &
compose_pids+=($!)
compose_down() {
  composed --profile embedded down --volumes --timeout 40 >"$work/down.log" 2>&1 || true
  kill "${compose_pids[@]}" 2>/dev/null || true
  # A check of health that is under way writes into the storage that is about to go.
  wait "${compose_pids[@]}" 2>/dev/null || true
  podman volume prune -f >/dev/null 2>&1 || true
  # What watched over health checks stays for minutes; it is known by our folder.
  local each
  for each in $(ps -eo pid=,args= | awk -v own="$work/" 'index($0, own) && /conmon/ { print $1 }'); do kill "$each" 2>/dev/null || true; done
}
trap 'compose_down; rm -rf "$work"' EXIT
for _ in $(seq 50); do [ -S "$socket" ] && break; sleep 0.2; done
show() { composed ps -a >&2 2>/dev/null || true; for each in topics webhook poll normalize route greenhouse; do echo "--- $each" >&2; composed logs --no-color --tail 5 $each >&2 2>/dev/null || true; done; }
timeout 300 env DOCKER_HOST="unix://$socket" "$compose" --project-name hwcheck -f "$root/docker-compose.yml" up --no-build --pull never -d >"$work/up.log" 2>&1 ||
  { tail -n 20 "$work/up.log" >&2; show; echo "helm/check: docker compose up failed" >&2; exit 1; }

step "everything arrives"
query() { composed exec -T postgres psql -tA -U hirewire -c "$1" 2>/dev/null | tr -d ' \r\n'; }
# The simulator plays for a minute or so; then the ledger, the database and the receivers hold still.
last="" still=0
for _ in $(seq 150); do
  now=$(query "SELECT count(*) FROM hirewire.stage_change" || true)
  if [ -n "$now" ] && [ "$now" = "$last" ] && [ "$now" -gt 300 ]; then still=$((still + 1)); else still=0; fi
  [ $still -lt 8 ] || break
  last=$now
  sleep 2
done
[ "${last:-0}" -gt 300 ] || { show; echo "helm/check: ${last:-no} stage changes in the database" >&2; exit 1; }
ledger=$(composed exec -T normalize /usr/local/bin/hirewire tail stage-change --brokers kafka:9092 --registry http://registry:8081 2>/dev/null | wc -l)
[ "$ledger" = "$last" ] || { show; echo "helm/check: $ledger stage changes in the topic, $last in the database" >&2; exit 1; }
metrics() { curl -sf "http://127.0.0.1:9090/api/v1/query" --data-urlencode "query=$1" | "$python/bin/python" -c 'import json,sys; print({r["metric"].get("sink",""): float(r["value"][1]) for r in json.load(sys.stdin)["data"]["result"]})'; }
sleep 20   # one more scrape
echo "stage changes: $last in the topic and in PostgreSQL; delivered: $(metrics 'sum by (sink) (hirewire_route_deliveries_total)'), dead: $(metrics 'sum(hirewire_route_dead_letters_total)+sum(hirewire_normalize_dead_letters_total or vector(0))'); scraped: $(metrics 'sum(up)')" >&2
[ "$(metrics 'sum(up)')" = "{'': 4.0}" ] || { echo "helm/check: Prometheus does not reach all services" >&2; exit 1; }
[ "$(metrics 'sum(hirewire_route_dead_letters_total)+sum(hirewire_normalize_dead_letters_total or vector(0))')" = "{'': 0.0}" ] || { echo "helm/check: dead letters" >&2; exit 1; }
curl -sf http://127.0.0.1:3000/queries >"$work/queries"
if grep '^WRONG' "$work/queries" >&2; then echo "helm/check: Prometheus refuses queries of the dashboards" >&2; exit 1; fi
# What never happened in a good run has no series: dead letters by code, failures, the embedded broker.
echo "dashboards: $(wc -l <"$work/queries") queries, $(grep -vc '^0' "$work/queries") of them with data" >&2
[ "$(grep -vc '^0' "$work/queries")" -ge 55 ] || { grep '^0' "$work/queries" >&2; echo "helm/check: panels are empty" >&2; exit 1; }
composed exec -T webhook /usr/local/bin/hirewire walk trial --config /etc/hirewire/hirewire.yaml --webhooks http://webhook:8080 --within 90s >"$work/walk" 2>&1 ||
  { cat "$work/walk" >&2; echo "helm/check: the walk that helm test runs did not arrive" >&2; exit 1; }
grep '^  sink analytics, route analytics: delivered' "$work/walk" >&2 || { cat "$work/walk" >&2; exit 1; }

step "demo --brokers: the judge sees what Compose's Kafka and registry do"
"$HIREWIRE" demo --brokers 127.0.0.1:9094 --registry http://127.0.0.1:8081 --applications 60 --seed 2 --json >"$work/demo" 2>&1 ||
  { grep -v '^{' "$work/demo" | tail -n 40 >&2; echo "helm/check: the demo on Compose's Kafka lost, doubled or swapped something" >&2; exit 1; }
grep -v '^{' "$work/demo" | tail -n 3 >&2
composed down --volumes --timeout 40 >"$work/down.log" 2>&1

step "docker compose up embedded: one container and nothing else"
composed up --no-build --pull never -d embedded >"$work/up.log" 2>&1 || { tail -n 20 "$work/up.log" >&2; exit 1; }
[ "$(podman ps --quiet | wc -l)" = 1 ]
well=0
for _ in $(seq 60); do if curl -sf http://127.0.0.1:9644/readyz >/dev/null; then well=1; break; fi; sleep 1; done
[ $well = 1 ] || { composed --profile embedded logs embedded >&2; exit 1; }
body='{"action":"ping"}'
signature=$(printf %s "$body" | openssl dgst -sha256 -hmac eea99ded702b1110ecfad5b13aa0164c31dcb7b7c2e19e77e304e7ccf283c41d -r | cut -d' ' -f1)
answer() { curl -s -o /dev/null -w '%{http_code} %{errormsg}' -H "Signature: sha256 $1" --data-binary "$body" http://127.0.0.1:8080/v1/webhooks/acme-greenhouse || true; }
# Podman publishes one port after the other.
for _ in $(seq 20); do if [ "$(answer "$signature")" = "200 " ]; then break; fi; sleep 1; done
for expected in "200 $signature" "401 00"; do
  found=$(answer "${expected#* }")
  [ "${found%% *}" = "${expected%% *}" ] || {
    echo "helm/check: the embedded container answered a webhook by $found, not ${expected%% *}" >&2
    composed --profile embedded logs embedded >&2 || true
    composed --profile embedded ps -a >&2 || true
    exit 1
  }
done
# As `helm test` of the small preset does.
"$HIREWIRE" walk acme-greenhouse --through http://127.0.0.1:9644 --within 90s >"$work/walk" 2>&1 ||
  { cat "$work/walk" >&2; echo "helm/check: a walk through the embedded container did not arrive" >&2; exit 1; }
compose_down
trap 'rm -rf "$work"' EXIT
