# A Kubernetes control plane on loopback with nodes that pretend: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok. Pods are scheduled, become ready
# and end, but no process runs in them. Sourced; needs $tools and $work; sets $kubectl, KUBECONFIG and $cluster_pids. Built once, in about six minutes.
version=1.36.3
bin=$tools/kubernetes-v$version
if [ ! -x "$bin/kwok" ]; then
  echo "building Kubernetes $version (once, some minutes)" >&2
  mkdir -p "$bin"
  (
    cd tests/cluster
    stamp="-s -w -X k8s.io/component-base/version.gitVersion=v$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
    for program in kube-apiserver kube-controller-manager kube-scheduler kubectl; do
      go build -ldflags "$stamp" -o "$bin/" k8s.io/kubernetes/cmd/$program
    done
    go build -o "$bin/etcd" go.etcd.io/etcd/server/v3
    GOBIN=$bin go install sigs.k8s.io/kwok/cmd/kwok@v0.7.0
  ) >&2
fi
kubectl=$bin/kubectl
rm -rf "$work/etcd" "$work/certs"
export KUBECONFIG=$work/kubeconfig
cluster_pids=()
# Seven free ports.
read -r etcd_port peer_port api_port manager_port scheduler_port kwok_port _ < <(python3 - <<'P'
import socket
held = [socket.socket() for _ in range(7)]
for each in held:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in held))
P
)
run() { # $1: program, rest: arguments
  local program=$1; shift
  "$bin/$program" "$@" >"$work/$program.log" 2>&1 &
  cluster_pids+=($!)
}
cluster_down() {
  # Nothing of it is kept, and an API server that is asked politely waits for its watchers.
  local pid
  for pid in ${cluster_pids[@]+"${cluster_pids[@]}"}; do kill -KILL "$pid" 2>/dev/null || true; done
  wait ${cluster_pids[@]+"${cluster_pids[@]}"} 2>/dev/null || true
}
until_ok() { # $1: what for, rest: a command
  local what=$1 end=$((SECONDS + 90)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "helm/check: $what did not come within 90 s" >&2; tail -n 20 "$work"/kube-*.log >&2; exit 1; }
    sleep 0.2
  done
}
run etcd --data-dir "$work/etcd" --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
  --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" --initial-cluster "default=http://127.0.0.1:$peer_port" --unsafe-no-fsync
openssl genrsa -out "$work/sa.key" 2048 2>/dev/null
token=$(openssl rand -hex 16)
echo "$token,admin,admin,\"system:masters\"" >"$work/tokens.csv"
cat >"$KUBECONFIG" <<K
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$api_port", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: $token}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
K
run kube-apiserver --etcd-servers="http://127.0.0.1:$etcd_port" --secure-port="$api_port" --bind-address=127.0.0.1 --cert-dir="$work/certs" \
  --service-account-issuer=https://localhost --service-account-key-file="$work/sa.key" --service-account-signing-key-file="$work/sa.key" \
  --service-cluster-ip-range=10.0.0.0/24 --token-auth-file="$work/tokens.csv" --authorization-mode=RBAC --disable-admission-plugins=ServiceAccount
until_ok "the API server" "$kubectl" get --raw /readyz
run kube-controller-manager --kubeconfig="$KUBECONFIG" --authentication-kubeconfig="$KUBECONFIG" --authorization-kubeconfig="$KUBECONFIG" \
  --service-account-private-key-file="$work/sa.key" --bind-address=127.0.0.1 --secure-port="$manager_port" --leader-elect=false
run kube-scheduler --kubeconfig="$KUBECONFIG" --authentication-kubeconfig="$KUBECONFIG" --authorization-kubeconfig="$KUBECONFIG" \
  --bind-address=127.0.0.1 --secure-port="$scheduler_port" --leader-elect=false
run kwok --kubeconfig="$KUBECONFIG" --manage-all-nodes=true --node-lease-duration-seconds=40 --server-address="127.0.0.1:$kwok_port"
for node in a b c; do
  "$kubectl" apply -f - >/dev/null <<N
apiVersion: v1
kind: Node
metadata: {name: node-$node, labels: {topology.kubernetes.io/zone: zone-$node, kubernetes.io/hostname: node-$node}}
status:
  allocatable: {cpu: "16", memory: 64Gi, pods: "50", ephemeral-storage: 500Gi}
  capacity: {cpu: "16", memory: 64Gi, pods: "50", ephemeral-storage: 500Gi}
N
done
"$kubectl" wait --for=condition=Ready nodes --all --timeout=60s >/dev/null
