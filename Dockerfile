# An image with the static binary only. Build: docker build -t tripgate .
# Run: docker run -p 8080:8080 -v tripgate:/data -e TRIPGATE_PUBLIC_URL=https://trips.example tripgate

FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY . .
# jemalloc needs make; the image has a C compiler.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make=4.* \
    && rm -rf /var/lib/apt/lists/*
# The binary contains the C library, so it runs without files of a distribution. glibc's resolver works in a static binary
# as long as the image has no /etc/nsswitch.conf with modules.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --bin tripgate --target "$(rustc --print host-tuple)" \
    && install -D -m 755 "target/$(rustc --print host-tuple)/release/tripgate" /out/usr/bin/tripgate \
    && install -d -m 700 -o 65532 -g 65532 /out/data \
    && install -d -m 1777 /out/tmp

FROM scratch
COPY --from=build /out/ /
# The binary contains Mozilla's root certificates. For others, mount a file and set TRIPGATE_SMTP_CA_FILE.
USER 65532:65532
ENV TRIPGATE_LISTEN=0.0.0.0:8080 TRIPGATE_DATA_DIR=/data
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/usr/bin/tripgate", "health"]
ENTRYPOINT ["/usr/bin/tripgate"]
CMD ["serve"]
