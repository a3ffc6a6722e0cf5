# One binary, no root, nothing else to start. Both bases can be pinned by digest, for builds that are the
# same years later: --build-arg RUST=rust@sha256:… --build-arg BASE=debian@sha256:…
ARG RUST=rust:1.95-bookworm
ARG BASE=debian:bookworm-slim

FROM ${RUST} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# Paths of the build do not go into the program.
ENV RUSTFLAGS="--remap-path-prefix=/source=radiant --remap-path-prefix=/usr/local/cargo=cargo" \
    CARGO_INCREMENTAL=0
RUN cargo build --release --locked --features jpeg-ls --bin radiant \
    && strip target/release/radiant

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 radiant \
    && useradd --system --uid 10001 --gid 10001 --home-dir /data --shell /usr/sbin/nologin radiant \
    && install -d -o radiant -g radiant -m 0750 /data
COPY --from=build /source/target/release/radiant /usr/local/bin/radiant
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV RADIANT__SERVER__DATA_DIR=/data \
    RADIANT__DIMSE__LISTEN=0.0.0.0:11112 \
    RADIANT_HEALTH=http://127.0.0.1:8080/healthz
# HTTP is that of the container's loopback until somebody says how others come in: http.tls.listen with a
# certificate, or http.listen with the proxies in front (docs/ops has both).
EXPOSE 8080 8443 11112
# Whether the process answers. Whether it can take work is /readyz, which balancers ask.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD curl --fail --silent --show-error --max-time 4 --insecure "$RADIANT_HEALTH" || exit 1
STOPSIGNAL SIGTERM
ENTRYPOINT ["radiant"]
CMD ["serve"]
