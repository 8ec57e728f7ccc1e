# Pintle. `make up` and `make test` do everything on a fresh Debian machine.

SHELL       := /bin/bash
FUZZTIME    ?= 10m
MINUTES     ?= 10
OBJECTS     ?= 150000
DATA_DIR    ?= $(CURDIR)/.pintle
BIN         := $(CURDIR)/bin
PINTLE      := $(BIN)/pintle
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.1.0-dev)
# What pintle kubectl says its version is.
KUBECTL     := $(shell sed -n 's,^.*k8s.io/kubectl v0\.\([0-9.]*\).*,v1.\1,p' go.mod)
LDFLAGS     := -s -w -X github.com/pintle-dev/pintle/cmd/pintle/internal/release.Version=v0.1.0-$(VERSION) \
               -X k8s.io/component-base/version.gitVersion=$(KUBECTL)
HELLO       := pintle.dev/hello
export PATH := $(CURDIR)/.cache/go/bin:$(PATH)
export CGO_ENABLED ?= 0

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := build
.PHONY: up down build images test unit guests e2e clients robustness failover lint bench bench-store load conformance golden fuzz api generate check host-packages examples tutorials clean

up: host-packages build images ## install what is missing, build, start a cluster, run the demo in it
	@.ci/demo $(PINTLE) $(DATA_DIR) $(BIN)

down: ## stop the cluster and leave nothing of it outside this folder
	@[ ! -x $(PINTLE) ] || $(PINTLE) down --data-dir $(DATA_DIR)

build: ## the one binary, bin/pintle
	@go build -trimpath -ldflags '$(LDFLAGS)' -o $(PINTLE) ./cmd/pintle

images: ## the demo image as archives, bin/hello-v1.tar and bin/hello-v2.tar
	@for v in v1 v2; do \
	  go build -trimpath -ldflags "-s -w -X main.version=$$v" -o $(BIN)/hello-$$v ./test/images/hello && \
	  go run ./test/images/mkimage -o $(BIN)/hello-$$v.tar -tag $(HELLO):$$v -busybox /bin/busybox -entrypoint /hello /hello=$(BIN)/hello-$$v || exit 1; \
	done

test: host-packages unit examples e2e ## everything that must pass: unit tests with -race, the SDK's examples, end to end

unit:
	CGO_ENABLED=1 go test -race -timeout 15m $$(go list ./... | grep -v /test/e2e)

examples: ## each example is a module of its own, as a stranger would copy it
	@for m in sdk/examples/*/go.mod sdk/tools/*/go.mod sdk/controllerruntime/go.mod; do (cd $$(dirname $$m) && echo "== $$(dirname $$m)" && go vet ./... && go test ./...) || exit 1; done

tutorials: build ## does what the pages in docs/tutorials say, word for word, and builds and tests a project of each kind; make test has the first of each
	PINTLE=$(PINTLE) go test -count=1 -timeout 60m -v ./test/tutorials -args -all

guests: build ## all ways in which a plugin may misbehave, on a machine that does nothing else; make test has a slice
	PINTLE=$(PINTLE) go test -count=1 -timeout 30m -v ./test/guests -args -all

e2e: host-packages build images ## real containerd, kubectl and registry
	go test -count=1 -timeout 20m -v ./test/e2e/...

clients: host-packages build ## kubectl, informers, Helm and controller-runtime, all there is to see: make test has a short slice
	go test -count=1 -timeout 30m ./test/clients -args -all
	@for m in helm runtime; do (cd test/clients/$$m && echo "== test/clients/$$m" && PINTLE=$(PINTLE) go test -count=1 -timeout 20m ./...) || exit 1; done

robustness: host-packages ## RUNS runs of DURATION with faults on three servers, from SEED on; make test has five short ones
	go test -count=1 -timeout 0 -run 'TestRobustness' -v ./test/robustness -args -clock -runs $(or $(RUNS),100) -duration $(or $(DURATION),1m) -seed $(or $(SEED),0) -out $(BIN)/robustness
	@cd test/robustness/faultfs && go test -count=1 ./...

failover: host-packages ## kills the leader of three servers 20 times and tells how long no write is acknowledged
	go test -count=1 -timeout 20m -run 'TestFailover' -v ./test/robustness -args -tries $(or $(TRIES),20)

lint:
	go run $(GOLANGCI) run ./...

check: lint unit ## what a commit needs

api: ## record what sdk exports in sdk/api.txt, after saying in sdk/CHANGELOG.md what authors lose
	@go test -count=1 -run TestTheSDKsAPI ./test/architecture -args -update

generate: ## schemas of the Kubernetes types, protocol buffers
	go generate ./...

bench: build ## Pintle beside kube-apiserver and etcd, where ../shared/bench is present
	@test/bench/run $(PINTLE)

bench-store: ## the store beside etcd, and logs for Raft beside one another
	@$(MAKE) -C test/bench/store all QUICK=$(QUICK)

load: build ## 150,000 objects: start, ten lists at once, MINUTES of writes with memory and disk flat
	PINTLE=$(PINTLE) go test -count=1 -timeout $$(( $(MINUTES) + 20 ))m -v ./test/load -args -objects $(OBJECTS) -minutes $(MINUTES)

conformance: build ## upstream's conformance tests, where ../shared/conformance is present
	@test/conformance/run $(PINTLE)

golden: ## what kube-apiserver answers to the objects in test/fixtures and plugins/kubeapi, asked of PEER (a kubeconfig), and to raw requests
	@[ -n "$(PEER)" ] || { echo "PEER: the kubeconfig of a kube-apiserver with namespaces fixtures and kubeapi" >&2; exit 1; }
	go test ./test/fixtures ./plugins/kubeapi ./test/differential -args -record $(abspath $(PEER))

fuzz: ## every fuzz target, one after the other, for FUZZTIME each
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r d; do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z]+' $$d/*_test.go | cut -c6-); do \
	    echo "== $$d $$f" && go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$d || exit 1; \
	  done; \
	done

host-packages:
	@.ci/host-packages

clean: down
	rm -rf $(BIN) $(DATA_DIR)
