# The image: the binary, which carries vendors and schemas, the five libraries that it links, certificates, and the list of what is in the
# binary (/hirewire.cdx.json, CycloneDX). No shell, nothing else.
#   docker build -t hirewire:0.1.0 .          (BuildKit, or: buildah build --layers -t hirewire:0.1.0 .)
# `helm/check --from-source` builds and runs it, with stand-ins for the two base images: a Debian made from its packages, and the Rust of the machine on it.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep dependencies compiled from one build to the next; what was built is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --package hirewire \
    && install -D target/dist/hirewire /out/hirewire \
    && ci/dependencies --sbom /out/hirewire.cdx.json

FROM docker.io/library/debian:bookworm-slim AS files
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/hirewire /image/usr/local/bin/hirewire
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Libraries stand where the loader looks for them, whatever the processor.
RUN ldd /image/usr/local/bin/hirewire | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "/image$library"; done \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && echo 'hirewire:x:65532:65532::/var/lib/hirewire:/sbin/nologin' >/image/etc/passwd \
    && echo 'hirewire:x:65532:' >/image/etc/group \
    && echo 'hosts: files dns' >/image/etc/nsswitch.conf \
    && mkdir -p /data/hirewire

FROM scratch
LABEL org.opencontainers.image.title="hirewire" \
      org.opencontainers.image.description="Events of applicant tracking systems as a Kafka stream, with a gap-free ledger of every stage change" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY LICENSE /LICENSE
COPY --from=build /out/hirewire.cdx.json /hirewire.cdx.json
COPY --from=files /image /
# Volumes that are mounted here are the user's.
COPY --from=files --chown=65532:65532 /data /var/lib
USER 65532:65532
WORKDIR /var/lib/hirewire
EXPOSE 8080 9644
# By the admin port of whatever runs. A service that is configured to another port needs another check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/usr/local/bin/hirewire", "health", "--admin", "127.0.0.1:9644"]
ENTRYPOINT ["/usr/local/bin/hirewire"]
CMD ["--help"]
