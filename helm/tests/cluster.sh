# The chart on a real API server. Sourced by check --cluster.
step a control plane with pretended nodes
. tests/cluster/up.sh
trap 'cluster_down; rm -rf "$work"' EXIT
ns=hirewire
helm() { "$HELM" --namespace $ns "$@"; }
k() { "$kubectl" --namespace $ns "$@"; }
# The operators' kinds, to be stored; their fields are checked by kubeconform above.
"$python/bin/python" tests/cluster/kinds.py | "$kubectl" apply -f - >/dev/null
"$kubectl" wait --for=condition=Established crd --all --timeout=30s >/dev/null
# A namespace that takes only pods of the restricted standard.
"$kubectl" create namespace $ns >/dev/null
"$kubectl" label namespace $ns pod-security.kubernetes.io/enforce=restricted >/dev/null
for secret in acme-greenhouse onboarding trial payroll analytics-db kafka-ca kafka-user registry-credentials; do k create secret generic $secret --from-literal=password=x >/dev/null; done
# Volumes for the claims: there is no provisioner.
for size in 1 20 20; do
  printf 'apiVersion: v1\nkind: PersistentVolume\nmetadata: {generateName: pv-}\nspec: {capacity: {storage: %sGi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}, persistentVolumeReclaimPolicy: Delete}\n' $size |
    "$kubectl" create -f - >/dev/null
done

for preset in small kafka production; do
  values=values-$preset.yaml
  step "preset $preset: every object is taken, strictly"
  "$HELM" template rel . --namespace $ns --kube-version 1.36.3 -f $values | "$kubectl" apply --dry-run=server --validate=strict -f - >/dev/null 2>"$work/refusal" || { cut -c1-600 "$work/refusal" >&2; exit 1; }

  step "preset $preset: install, and nothing differs"
  helm install rel . -f $values --wait --timeout 2m >/dev/null
  # Hooks are gone when they have succeeded, and tests are not there yet.
  "$HELM" template rel . --namespace $ns --kube-version 1.36.3 --no-hooks -f $values >"$work/installed.yaml"
  k diff -f "$work/installed.yaml" >&2
  [ "$(k get pods --no-headers | grep -vc Running)" = 0 ] || { k get pods >&2; exit 1; }
  k get pods -o wide --no-headers | awk '{print "  " $1, $3, $7}' >&2

  step "preset $preset: helm test"
  helm test rel --timeout 1m | grep -E 'TEST SUITE|Phase' >&2

  step "preset $preset: upgrade, rollback"
  before=$(k get configmap rel-hirewire -o jsonpath='{.data}' | sha256sum)
  helm upgrade rel . -f $values --set config.ingest.body_timeout=7s --set log.filter=debug --wait --timeout 2m >/dev/null
  k get configmap rel-hirewire -o jsonpath='{.data}' | grep -q 'body_timeout: \\"7s\\"' || { echo "helm/check: the upgrade did not reach the configuration" >&2; exit 1; }
  helm rollback rel 1 --wait --timeout 2m >/dev/null
  [ "$before" = "$(k get configmap rel-hirewire -o jsonpath='{.data}' | sha256sum)" ]
  k diff -f "$work/installed.yaml" >&2

  if [ $preset = kafka ]; then
    step "a drained node: the budget is honoured, and pods move"
    node=$(k get pods -l app.kubernetes.io/component=webhook -o jsonpath='{.items[0].spec.nodeName}')
    helm upgrade rel . -f $values --set webhook.pdb.maxUnavailable=0 --wait --timeout 2m >/dev/null
    if "$kubectl" drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout=8s >"$work/drain.log" 2>&1; then
      echo "helm/check: a drain went through against the budget" >&2; exit 1
    fi
    grep -q "violate the pod's disruption budget" "$work/drain.log" || { cat "$work/drain.log" >&2; exit 1; }
    helm upgrade rel . -f $values --wait --timeout 2m >/dev/null
    "$kubectl" drain "$node" --ignore-daemonsets --delete-emptydir-data --timeout=90s >/dev/null
    k rollout status deployment/rel-hirewire-webhook --timeout=60s >/dev/null
    [ "$(k get pods -l app.kubernetes.io/component=webhook -o jsonpath='{.items[*].spec.nodeName}' | tr ' ' '\n' | grep -c "$node")" = 0 ]
    "$kubectl" uncordon "$node" >/dev/null
  fi
  helm uninstall rel --wait >/dev/null
  # Helm leaves the Jobs of its tests.
  k delete jobs --all >/dev/null
  k delete pvc --all >/dev/null
done

step "what is less than restricted is refused"
"$HELM" template rel . --namespace $ns --kube-version 1.36.3 -f values-small.yaml >"$work/small.yaml"
# A pod of the chart's template is taken as it is, and refused when one defence is missing.
pod_of() { "$python/bin/python" tests/cluster/pod.py "$work/small.yaml" "$1" | k apply --dry-run=server -f - 2>&1; }
pod_of none >/dev/null
for defence in runAsNonRoot seccompProfile allowPrivilegeEscalation capabilities; do
  if pod_of $defence >"$work/refusal"; then echo "helm/check: a pod without $defence was taken" >&2; exit 1; fi
  grep -q "violates PodSecurity" "$work/refusal" || { cat "$work/refusal" >&2; exit 1; }
done
step "an old cluster is refused"
if "$HELM" template rel . --kube-version 1.29.0 -f values-small.yaml >/dev/null 2>"$work/refusal"; then echo "helm/check: 1.29 was taken" >&2; exit 1; fi
grep -q kubeVersion "$work/refusal"
cluster_down
trap 'rm -rf "$work"' EXIT
