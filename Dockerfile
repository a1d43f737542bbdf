# The image holds the binary and nothing else. Build the binary first:
#   CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags "-s -w" -o bin/image/stoop .
#   docker build -t stoop -f Dockerfile bin/image
FROM scratch
LABEL org.opencontainers.image.title="stoop" \
      org.opencontainers.image.description="Porch without the cluster, in one KRM function" \
      org.opencontainers.image.source="https://github.com/stoop-dev/stoop" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY stoop /usr/local/bin/stoop
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/stoop"]
