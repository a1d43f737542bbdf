# The binary and nothing else. Build it first:
#   make build && docker build -t stoop .
# Hosts may run it as any user: kpt asks for nobody, whom the passwd file names.
FROM scratch
LABEL org.opencontainers.image.title="stoop" \
      org.opencontainers.image.description="Porch without the cluster, in one KRM function" \
      org.opencontainers.image.source="https://github.com/stoop-dev/stoop" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY Dockerfile.passwd /etc/passwd
COPY bin/stoop /usr/local/bin/stoop
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/stoop"]
