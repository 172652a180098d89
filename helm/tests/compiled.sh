# The image from source, by the whole Dockerfile with the stage that compiles. Sourced by tests/image.sh with --from-source; needs tests/engine.sh.
# The image of Rust cannot be pulled where only package registries are reached: what stands in for it has the compiler of this machine, which must be of the
# version that the Dockerfile names, and of Debian a part of what the real one has (that is buildpack-deps), so that nothing compiles here that does not there.
version=$(sed -n 's/^FROM docker.io\/library\/rust:\([0-9.]*\)-bookworm AS build$/\1/p' "$root/Dockerfile")
toolchain=$(rustc --print sysroot)
rustc --version | grep -q "^rustc $version\." || { echo "helm/check --from-source: the Dockerfile wants Rust $version, here is $(rustc --version)" >&2; exit 2; }
mkdir -p "$work/rust/toolchain"
cp -a "$toolchain/bin" "$toolchain/lib" "$work/rust/toolchain/"
# Whom this machine trusts.
cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$work/rust/ca-certificates.crt"
cat >"$work/rust/Dockerfile" <<'D'
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends \
    ca-certificates curl dpkg-dev file g++ gcc git libc6-dev make mercurial patch procps unzip wget xz-utils
COPY toolchain /usr/local/rustup
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
D
buildah build -q --pull-never -t "docker.io/library/rust:$version-bookworm" "$work/rust" >/dev/null
rm -r "$work/rust"
begun=$SECONDS
buildah build -q --pull-never --format docker -t hirewire:0.1.0 "$root" >"$work/compiled.log" 2>&1 || { tail -n 40 "$work/compiled.log" >&2; exit 1; }
echo "compiled, and made an image, in $((SECONDS - begun)) s" >&2
