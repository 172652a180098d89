# The image runs as its user, on a read-only root, without capabilities. Sourced by check --full and --from-source.
step the image, on a read-only root
. tests/engine.sh
# Podman complains of a systemd that is not there, for health checks that it would run by itself.
podman() { command podman "$@" 2> >(grep -v systemd >&2); }
if [ $from_source = 1 ]; then
  . tests/compiled.sh
else
  [ -n "${HIREWIRE:-}" ] || { echo "helm/check --full: name a built binary with --hirewire" >&2; exit 2; }
  build_image "$HIREWIRE" >/dev/null
fi
podman image inspect hirewire:0.1.0 --format 'size {{.Size}} bytes, user {{.User}}' >&2
size=$(podman image inspect hirewire:0.1.0 --format '{{.Size}}')
[ "$(podman image inspect hirewire:0.1.0 --format '{{.User}}')" = 65532:65532 ]
hardened=(--network none --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp:size=64m)
podman run --rm "${hardened[@]}" hirewire:0.1.0 --version >&2
# It says what is in it: `podman cp` needs no shell.
podman create --name hirewire-list hirewire:0.1.0 >/dev/null
podman cp hirewire-list:/hirewire.cdx.json "$work/list.json"
podman rm hirewire-list >/dev/null
grep -q '"purl": "pkg:generic/openssl@' "$work/list.json" || { echo "helm/check: the image does not say what is in it" >&2; exit 1; }
# Everything in one container: it starts, keeps its data in a volume, says that it is well by its own health check, and stops on SIGTERM.
podman run -d --name hirewire-check "${hardened[@]}" -m 1g -v hirewire-check:/var/lib/hirewire hirewire:0.1.0 up --data /var/lib/hirewire >/dev/null
well=0
for _ in $(seq 60); do
  if podman healthcheck run hirewire-check >/dev/null 2>&1; then well=1; break; fi
  sleep 1
done
[ $well = 1 ] || { podman logs hirewire-check >&2; echo "helm/check: the image is not well after 60 s" >&2; exit 1; }
podman stop -t 35 hirewire-check >/dev/null
[ "$(podman inspect hirewire-check --format '{{.State.ExitCode}}')" = 0 ] || { podman logs hirewire-check >&2; echo "helm/check: the image ended with an error" >&2; exit 1; }
podman rm hirewire-check >/dev/null
# A process that is number 1 of its container hears no signal that it does not listen to. The first that it does is to listen: from then on
# a stop in the midst of a start is obeyed.
podman run -d --name hirewire-check "${hardened[@]}" -m 1g -v hirewire-check:/var/lib/hirewire hirewire:0.1.0 up --data /var/lib/hirewire >/dev/null
status=/proc/$(podman inspect hirewire-check --format '{{.State.Pid}}')/status
for _ in $(seq 1000); do
  caught=$(awk '/^SigCgt:/ { print $2 }' "$status")
  [ $((0x${caught:-0} >> 14 & 1)) = 0 ] || break
  sleep 0.01
done
podman stop -t 20 hirewire-check >/dev/null 2>&1
[ "$(podman inspect hirewire-check --format '{{.State.ExitCode}}')" = 0 ] || { podman logs hirewire-check >&2; echo "helm/check: a stop during the start was not obeyed" >&2; exit 1; }
podman rm hirewire-check >/dev/null
podman volume rm hirewire-check >/dev/null
echo "the image runs as 65532 on a read-only root; $((size / 1000000)) MB" >&2
