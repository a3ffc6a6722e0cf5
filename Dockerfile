# One binary, no root, nothing else to start.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --release --locked --features jpeg-ls

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data radiant
COPY --from=build /source/target/release/radiant /usr/local/bin/radiant
USER radiant
WORKDIR /data
VOLUME /data
ENV RADIANT__SERVER__DATA_DIR=/data
# The listeners are those of the container's loopback: run with `--network host`, or set
# RADIANT__HTTP__LISTEN and RADIANT__DIMSE__LISTEN, with HTTPS or a trusted proxy (src/config/default.toml).
EXPOSE 8080 11112
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD curl --fail --silent http://127.0.0.1:8080/readyz
ENTRYPOINT ["radiant"]
CMD ["serve"]
