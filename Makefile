# `make` says what there is.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:

# Static binaries, the same from the same commit whatever the directory, and one build cache for everything.
export CGO_ENABLED := 0
override GOFLAGS := $(strip $(filter-out -buildvcs=false -trimpath,$(GOFLAGS)) -buildvcs=false -trimpath)
export GOFLAGS

VERSION ?= $(shell sed -n 's/.*version = "\(v.*\)"/\1/p' pkg/version/version.go | head -n 1)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# The commit's time, not the clock's: the same commit gives the same bytes.
DATE ?= $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo 1970-01-01T00:00:00Z)
IMAGE ?= nestling.dev/nestling:$(VERSION)
ARCH ?= $(shell go env GOARCH)

KUBERNETES := $(shell sed -n 's/^\tk8s.io\/kubernetes \(v[^ ]*\)$$/\1/p' go.mod)
KUBERNETES_PARTS := $(subst ., ,$(KUBERNETES:v%=%))
NESTLING := nestling.dev/nestling/pkg/version
# /version of the API server, and the version that its clients report, come from the linker.
LDFLAGS := -s -w \
	-X $(NESTLING).version=$(VERSION) -X $(NESTLING).commit=$(COMMIT) -X $(NESTLING).kubernetes=$(KUBERNETES) \
	$(foreach package,k8s.io/component-base/version k8s.io/client-go/pkg/version, \
		-X $(package).gitVersion=$(KUBERNETES) \
		-X $(package).gitMajor=$(word 1,$(KUBERNETES_PARTS)) -X $(package).gitMinor=$(word 2,$(KUBERNETES_PARTS)) \
		-X $(package).gitCommit=$(COMMIT) -X $(package).gitTreeState=clean -X $(package).buildDate=$(DATE))

.PHONY: help
help: ## Say what there is
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  make verify-X        one check of: $(patsubst scripts/verify-%.sh,%,$(wildcard scripts/verify-*.sh))"
	@echo "  make update-X        mend what verify-X checks: $(patsubst scripts/update-%.sh,%,$(wildcard scripts/update-*.sh))"

.PHONY: build
build: ## Build bin/nestling and bin/nestling-sandbox
	@echo 'go build -o bin/ ./cmd/...' # without the page of linker flags
	@go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: sandbox
sandbox: build ## Build, and run a tenant on a simulated host (Ctrl-C ends it)
	bin/nestling-sandbox up

.PHONY: test
test: build ## Run all tests that need no root: units, and the stories on a simulated host
	go test -timeout 20m $(TESTFLAGS) ./...

# Not part of `make test`: an API server of another version is six minutes of a processor.
OLD_KUBERNETES = $(shell sed -n "s|.*k8s.io/kubernetes \(v[^ ]*\)\$$|\1|p" e2e/oldhost/go.mod)
OLD_PARTS = $(subst ., ,$(OLD_KUBERNETES:v%=%))

.PHONY: test-skew
test-skew: ## Run the syncer against a host that is two minor versions older, and record the result
	@echo 'go build -o bin/host-old/kube-apiserver # $(OLD_KUBERNETES)'
	@cd e2e/oldhost && GOWORK=off go build -o ../../bin/host-old/kube-apiserver -ldflags '-s -w $(foreach package,k8s.io/component-base/version k8s.io/client-go/pkg/version, \
		-X $(package).gitVersion=$(OLD_KUBERNETES) -X $(package).gitMajor=$(word 1,$(OLD_PARTS)) -X $(package).gitMinor=$(word 2,$(OLD_PARTS)))' \
		k8s.io/kubernetes/cmd/kube-apiserver
	NESTLING_SKEW_RESULTS=$(CURDIR)/e2e/skew/RESULTS.md go test -count 1 -v $(TESTFLAGS) ./e2e/skew

# Not part of `make test`: Prometheus is a thousand packages.
.PHONY: test-alerts
test-alerts: ## Let promtool read the alerts of manifests/monitoring, and make them fire
	@echo 'go build -o bin/apps/promtool'
	@cd e2e/prombins && GOWORK=off go build -tags remove_all_sd -o ../../bin/apps/promtool -ldflags '-s -w' github.com/prometheus/prometheus/cmd/promtool
	NESTLING_PROMTOOL=$(CURDIR)/bin/apps/promtool go test -count 1 -v $(TESTFLAGS) ./e2e/monitoring

.PHONY: e2e
e2e: ## Run the stories on a real node of this machine (needs root)
	$(if $(filter-out 0,$(shell id -u)),$(error real nodes need root: namespaces, mounts and cgroups))
	@$(MAKE) build image
	NESTLING_E2E=1 go test -count 1 -p 1 -timeout 60m -v $(TESTFLAGS) ./e2e/...

# Upstream's suite, e.g. make conformance FOCUS='sig-network.*Services' ONLY_FAILED=1
CONFORMANCE_FLAGS = $(if $(FOCUS),--focus '$(FOCUS)') $(if $(SKIP),--skip '$(SKIP)') $(if $(ONLY_FAILED),--only-failed) $(if $(RESUME),--resume) $(if $(PROCESSES),--processes $(PROCESSES))

.PHONY: conformance
conformance: build ## Run upstream's conformance suite in a tenant on two real nodes (FOCUS=, SKIP=, ONLY_FAILED=1, RESUME=1)
	go run ./e2e/cmd/conformance tenant --report $(CONFORMANCE_FLAGS)

.PHONY: conformance-host
conformance-host: build ## Run the same on the host itself
	go run ./e2e/cmd/conformance host --report $(CONFORMANCE_FLAGS)

.PHONY: conformance-parity
conformance-parity: build ## Run the same on the host, then in a tenant on it, and compare results and times
	go run ./e2e/cmd/conformance parity --report $(CONFORMANCE_FLAGS)

.PHONY: conformance-more
conformance-more: build ## Run [sig-cli], [sig-network] and [sig-storage] besides [Conformance], on the host, then in a tenant
	go run ./e2e/cmd/conformance parity --part more --report $(CONFORMANCE_FLAGS)

.PHONY: conformance-quick
conformance-quick: build ## Run in a tenant a choice of the suite of less than ten minutes
	go run ./e2e/cmd/conformance tenant --part quick,quick-serial $(CONFORMANCE_FLAGS)

.PHONY: conformance-tools
conformance-tools: build ## Run the tests of Helm, kubectl and controller-runtime in a tenant on two real nodes, and on the host (SUITE=, FOCUS=)
	go run ./e2e/cmd/conformance tools --report $(if $(SUITE),--suite '$(SUITE)') $(if $(FOCUS),--focus '$(FOCUS)')

.PHONY: bench
bench: build image ## Measure start, memory, and 500 pods, in the sandbox and on a real node
	@printf '%s\n' '# The last results of `make bench`' '' "$$(nproc) cores, $$(go version | cut -d' ' -f3-), commit $(COMMIT)." '' > e2e/bench/RESULTS.md
	NESTLING_BENCH=1 NESTLING_BENCH_RESULTS=$(CURDIR)/e2e/bench/RESULTS.md \
		go test -p 1 -count 1 -timeout 60m -v -run Bench $(TESTFLAGS) ./e2e ./e2e/bench

.PHONY: run-twenty
run-twenty: build ## On a real node, start twenty `nestling run` of a small test suite at once
	@mkdir -p e2e/runs && printf '%s\n' '# The last result of `make run-twenty`' '' "$$(nproc) cores, $$(go version | cut -d' ' -f3-), commit $(COMMIT)." '' > e2e/runs/RESULTS.md
	NESTLING_RUNS=20 NESTLING_BENCH_RESULTS=$(CURDIR)/e2e/runs/RESULTS.md go test -count 1 -timeout 60m -v -run TestBenchRuns $(TESTFLAGS) ./e2e

# Where the image is for this very machine, bin/nestling is the binary, and is linked once.
IMAGE_BINARY ?= $(if $(filter linux/$(ARCH),$(shell go env GOHOSTOS)/$(shell go env GOHOSTARCH)),bin/nestling,bin/linux-$(ARCH)/nestling)

.PHONY: calm
calm: build ## With 300 objects of every kind synced, see that nothing is written for five minutes
	@printf '%s\n' '# The last result of `make calm`' '' "$$(nproc) cores, $$(go version | cut -d' ' -f3-), commit $(COMMIT)." '' > e2e/rest/RESULTS.md
	NESTLING_CALM_OBJECTS=300 NESTLING_CALM=5m NESTLING_BENCH_RESULTS=$(CURDIR)/e2e/rest/RESULTS.md \
		go test -count 1 -timeout 60m -v $(TESTFLAGS) ./e2e/rest

.PHONY: image-binary
image-binary:
	@echo 'GOOS=linux GOARCH=$(ARCH) go build -o $(IMAGE_BINARY) ./cmd/nestling'
	@GOOS=linux GOARCH=$(ARCH) go build -ldflags '$(LDFLAGS)' -o $(IMAGE_BINARY) ./cmd/nestling

.PHONY: image
image: image-binary ## Build the container image without Docker: bin/nestling-image.tar
	go run ./scripts/mkimage -o bin/nestling-image.tar -name $(IMAGE) -arch $(ARCH) -user 65532:65532 \
		-entrypoint /nestling nestling=$(IMAGE_BINARY)

.PHONY: image-load
image-load: image ## Load the image into Docker, or into containerd (k8s.io) where there is no Docker
	if docker info >/dev/null 2>&1; then docker load -i bin/nestling-image.tar; else ctr -n k8s.io images import bin/nestling-image.tar; fi

.PHONY: verify
verify: $(patsubst scripts/%.sh,%,$(wildcard scripts/verify-*.sh)) ## Check everything that a machine can check

.PHONY: update
update: update-gofmt update-modules update-generated ## Mend what a machine can mend

verify-%:
	scripts/verify-$*.sh

# VERSION-like arguments: make update-kubernetes ARGS=v1.36.4
update-%:
	scripts/update-$*.sh $(ARGS)

.PHONY: clean
clean: ## Remove what was built; Go's cache stays
	rm -rf bin .cache
