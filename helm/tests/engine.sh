# Containers without an engine's daemon and without a registry: buildah and podman on a storage of our own. Sourced; needs $tools and $work.
# Base images cannot be pulled where only package registries are reached: a Debian made from its packages stands in for debian:bookworm-slim, and a
# built binary for the stage that compiles.
for program in buildah podman mmdebstrap; do
  command -v $program >/dev/null && continue
  echo "installing buildah, podman, mmdebstrap" >&2
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah mmdebstrap podman conmon runc netavark aardvark-dns iptables catatonit >&2
done
export BUILDAH_ISOLATION=chroot CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
cat >"$CONTAINERS_STORAGE_CONF" <<S
[storage]
driver = "vfs"
graphroot = "$work/storage"
runroot = "$work/run"
S
cat >"$CONTAINERS_CONF" <<S
[containers]
default_ulimits = ["nofile=1024:1024","nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
S
[ -s "$tools/bookworm.tar" ] || { mmdebstrap --quiet --variant=minbase bookworm "$tools/bookworm-$$.tar" && mv "$tools/bookworm-$$.tar" "$tools/bookworm.tar"; }
mkdir -p "$work/base"
ln -f "$tools/bookworm.tar" "$work/base/base.tar" 2>/dev/null || cp "$tools/bookworm.tar" "$work/base/base.tar"
printf 'FROM scratch\nADD base.tar /\n' >"$work/base/Dockerfile"
buildah build -q -t docker.io/library/debian:bookworm-slim "$work/base" >/dev/null

# The Dockerfile as it is, but for the stage that compiles.
build_image() { # $1: binary
  mkdir -p "$work/context"
  cp "$1" "$work/context/hirewire"
  cp "$root/LICENSE" "$work/context/"
  strip "$work/context/hirewire"
  "$root/ci/dependencies" --sbom "$work/context/hirewire.cdx.json" >&2
  awk '/^FROM / { skip = 0 } / AS build$/ { print "FROM scratch AS build\nCOPY hirewire hirewire.cdx.json /out/"; skip = 1 } !skip' "$root/Dockerfile" >"$work/context/Dockerfile"
  buildah build -q --pull-never --format docker -t hirewire:0.1.0 "$work/context"
}
