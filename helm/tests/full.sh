# What takes long. Sourced by check --full.
step alerts
if ! command -v promtool >/dev/null; then
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >&2
fi
promtool check rules rules/hirewire.yaml >&2
promtool test rules tests/rules.test.yaml >&2
"$python/bin/python" tests/rules_see.py rules/hirewire.yaml tests/rules.test.yaml

step queries of the dashboards
"$python/bin/python" tests/grafana.py --rules dashboards >"$work/panels.yaml"
promtool check rules "$work/panels.yaml" >&2
# It sees: a query that is none.
sed '0,/expr: /s//expr: sum(/' "$work/panels.yaml" >"$work/broken.yaml"
if promtool check rules "$work/broken.yaml" >/dev/null 2>&1; then echo "helm/check: promtool takes a query that is none" >&2; exit 1; fi

step "dashboards, by Grafana's own types"
types=$(module_tool grafana-types tests/grafana .)
"$types" dashboards/*.json
# It sees: a field that legends, queries or panels do not have, a unit that is a number, a legend without what it calculates.
for change in 's/"showLegend": true}/"showLegend": true, "sortedBy": 1}/' 's/"legendFormat"/"legend"/' 's/"gridPos"/"grid"/' 's/"unit": "s"/"unit": 5/' 's/"calcs": \[\], //'; do
  sed "$change" dashboards/connections.json >"$work/wrong.json"
  if "$types" "$work/wrong.json" 2>/dev/null; then echo "helm/check: Grafana's types take $change" >&2; exit 1; fi
done

step the metrics of a process that runs
if [ -n "${HIREWIRE:-}" ]; then
  "$HIREWIRE" up --data "$work/up" >"$work/up.out" 2>"$work/up.log" &
  up=$!
  for _ in $(seq 120); do grep -q ' tail stage-change' "$work/up.out" && break; sleep 0.5; done
  # The signed sample that it prints, so that there is something to count.
  sed -n '/^  curl/,/[^\\]$/p' "$work/up.out" | bash >/dev/null 2>&1
  sleep 8
  curl -sf "$(sed -n 's/^admin *\([^ ]*\).*/\1/p' "$work/up.out")" >"$work/metrics"
  kill "$up"; wait "$up"
  echo "$(grep -c '^# TYPE' "$work/metrics") metrics, $(grep -vc '^#' "$work/metrics") series" >&2
  grep -q '^hirewire_normalize_transactions_total{outcome="committed"} [1-9]' "$work/metrics" || { echo "helm/check: the sample webhook came to nothing" >&2; exit 1; }
  promtool check metrics <"$work/metrics" >&2
else
  echo "helm/check: /metrics was not looked at: --hirewire names no program" >&2
fi

step kube-score, without findings but these
kubescore=$(go_tool kube-score github.com/zegl/kube-score/cmd/kube-score v1.20.0)
#   CPU limit         slows a consumer down and saves nobody; requests are set, and memory is limited
#   pull policy       Always: tags are versions here, and a registry of images that is away should hold up no restart
#   few replicas      one poller: its connections are another's as soon as it is gone
#   podAntiAffinity   topology spread does it, for zones too
for preset in small kafka production; do
  "$kubescore" score --kubernetes-version v1.34 --output-format ci "$work/rendered/values-$preset.yaml" >"$work/score" || true
  grep -q '^.OK.' "$work/score"
  if grep '^.\(CRITICAL\|WARNING\)' "$work/score" | grep -v 'CPU limit is not set\|ImagePullPolicy is not set to Always\|does not have a host podAntiAffinity\|-poll/hirewire .*Deployment few replicas'; then
    echo "helm/check: kube-score finds more in values-$preset.yaml" >&2; exit 1
  fi
done
