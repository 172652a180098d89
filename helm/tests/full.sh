# What takes long. Sourced by check --full.
step alerts
if ! command -v promtool >/dev/null; then
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >&2
fi
promtool check rules rules/hirewire.yaml >&2
promtool test rules tests/rules.test.yaml >&2
# The tests see: without its threshold an alert is not what they expect.
sed 's/> 0$/> 1000000/' rules/hirewire.yaml >"$work/hirewire.yaml"
sed "s|\.\./rules/hirewire.yaml|$work/hirewire.yaml|" tests/rules.test.yaml >"$work/rules.test.yaml"
if promtool test rules "$work/rules.test.yaml" >/dev/null 2>&1; then echo "helm/check: alerts that never fire pass their tests" >&2; exit 1; fi

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

step "docker-compose.yml, by Compose itself"
. tests/compose-tool.sh
"$compose" -f "$root/docker-compose.yml" config -q
"$compose" -f "$root/docker-compose.yml" --profile embedded config -q
# It sees: a service that depends on one that is not there.
sed 's/service: *greenhouse/service:nobody/; s/^      topics: {condition/      nobody: {condition/' "$root/docker-compose.yml" >"$work/docker-compose.yml"
if "$compose" -f "$work/docker-compose.yml" config -q 2>/dev/null; then echo "helm/check: a dependency on nobody was taken" >&2; exit 1; fi

. tests/image.sh
