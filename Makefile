GO ?= go
CASES ?=

# stoop for this machine
.PHONY: build
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/stoop .

# the main job on an embedded example; no network, no container engine
.PHONY: demo
demo:
	@sh examples/demo.sh

# all tests
.PHONY: test
test:
	$(GO) test ./...

# rewrite the golden files of testdata/script; the diff is the review
.PHONY: update
update:
	$(GO) test . -run TestScripts -update

# recorded answers of kpt fn render in CASES, a folder with a runner in run-cases:
# make conformance CASES=DIR
.PHONY: conformance
conformance: build
	@test -n "$(CASES)" || { echo "say where the cases are: make conformance CASES=DIR" >&2; exit 2; }
	$(GO) build -o bin/conformance ./internal/conformance
	bin/conformance "$(CASES)" bin/stoop

# gofmt, vet, staticcheck
.PHONY: lint
lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

# processor time beside kpt and a plain YAML round trip
.PHONY: bench
bench:
	$(GO) run ./internal/bench

# the container image, from the binary alone
.PHONY: image
image:
	CGO_ENABLED=0 GOOS=linux $(GO) build -trimpath -ldflags "-s -w" -o bin/stoop .
	docker build -t stoop .
