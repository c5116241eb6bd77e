# Needs Python 3.11 or newer and make; everything else is installed into .venv.
# PYTHON=python3.12 chooses the Python that .venv is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check
LOCAL := $(BIN)/python -m local

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' worker/__init__.py)
REVISION := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
BASE ?= python:3.13-slim
REQUIREMENTS ?= worker
SBOM = .local/orders-worker-$(VERSION).cdx.json
REPLICAS ?= 1
PROFILES ?=
COMPOSE = ORDERS_WORKER_VERSION=$(VERSION) $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# What `make test` runs, and what the commands are given besides.
TESTS ?= tests
SERVERS ?=
RIGHTS ?=
ARGS ?=

# Processes that tests run in, each with servers of its own; a file stays in one of them. 0: in this one. In the order of
# collection the many short tests come last and fill what is left.
JOBS ?= auto
PARALLEL = -n $(JOBS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test matrix check lint ci release-check dist chaos bench profile docs migrate status replay image up down clean clean-local

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed-local ## real servers, two replicas, 500 orders, the figures; serves until Ctrl-C (ONCE=1: ends)
	@$(BIN)/python -m local.showcase $(if $(ONCE),--once) $(ARGS)

demo: $(VENV)/.installed-local ## two minutes of everything that goes wrong, and what comes of it; ends by itself (QUICK=1: no pauses)
	@$(BIN)/python -m local.demo $(if $(QUICK),--quick) $(ARGS)

test: $(VENV)/.installed-dev ## the whole suite (TESTS=path for a part, SERVERS=docker|embedded|urls to force, RIGHTS=least)
	SERVERS=$(SERVERS) RIGHTS=$(RIGHTS) $(BIN)/python -m pytest $(PARALLEL) $(TESTS) $(ARGS)

# Names of rows or parts of them, and stages; none: all of tests/matrix/list.toml. A whole one takes about two hours.
ROWS ?=
STAGES ?=

matrix: $(VENV)/.installed-dev ## the suites over each way to connect and each pair of versions; writes docs/matrix.md
	@$(BIN)/python -m tests.matrix $(if $(ROWS),--row "$(ROWS)") $(addprefix --stage ,$(STAGES)) $(ARGS)

check: lint ## all that lint does, and the unit tests
	$(BIN)/python -m pytest -q $(PARALLEL) tests/unit

lint: $(VENV)/.installed-dev ## lint, format, types, import directions, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# Parts of names of steps; none: all of .ci/steps.toml.
STEPS ?=

ci: ## what .github/workflows/ci.yml does, step by step on this machine (STEPS="3.13" for some; hours for all)
	@$(PYTHON) .ci/steps.py $(if $(STEPS),"$(STEPS)")

# Parts of names of checks; none: all of them.
CHECKS ?=

release-check: $(VENV)/.installed-dev ## whether this tree could be released, check by check (CHECKS=links for some)
	@$(BIN)/python -m tests.release $(CHECKS)

dist: $(VENV)/.installed-dev ## wheel and sdist, in dist/
	@rm -rf dist && $(BIN)/python -m hatchling build -d dist

# The random histories and the share of the exhaustive ones that the model goes through, the kills of the storm (its other
# faults and its orders in proportion), its seed, and for how long the soak goes on.
MODEL_HISTORIES ?= 50000
MODEL_EVERY ?= 4
KILLS ?= 1000
STORM_SEED ?= 1
SOAK_S ?= 300
CHAOS_FOLDER ?= .local/chaos
CHAOS_IMAGE ?= docs/images/chaos.svg

chaos: $(VENV)/.installed-dev ## every fault test at full size, then one table and a picture (KILLS=10000, SOAK_S=3600)
	@mkdir -p $(CHAOS_FOLDER) && rm -f $(CHAOS_FOLDER)/figures.jsonl $(CHAOS_FOLDER)/junit.xml
	@CHAOS=1 CHAOS_REPORT=$(abspath $(CHAOS_FOLDER))/figures.jsonl SERVERS=$(SERVERS) KILLS=$(KILLS) STORM_SEED=$(STORM_SEED) \
		SOAK_S=$(SOAK_S) MODEL_HISTORIES=$(MODEL_HISTORIES) MODEL_EVERY=$(MODEL_EVERY) \
		$(BIN)/python -m pytest $(PARALLEL) $(or $(filter-out tests,$(TESTS)),tests/faults) \
		--junit-xml=$(CHAOS_FOLDER)/junit.xml $(ARGS); \
	code=$$?; \
	$(BIN)/python -m tests.faults.report $(CHAOS_FOLDER)/figures.jsonl --junit $(CHAOS_FOLDER)/junit.xml \
		--json $(CHAOS_FOLDER)/table.json --image $(CHAOS_IMAGE) && exit $$code

BENCH_JSON ?= .local/bench/figures.json
BENCH_PLOT ?= .local/bench/figures.svg

bench: $(VENV)/.installed-bench ## speed beside the alternatives (QUICK=1; ARGS='--scenario latency', ARGS=--list)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick,$(if $(ARGS),,--curve)) \
		--json $(BENCH_JSON) --plot $(BENCH_PLOT) $(ARGS)

profile: $(VENV)/.installed-bench ## where the time of an order goes: flame graph, largest costs, statements
	@$(BIN)/python -m benchmarks.profiling $(ARGS)

migrate: $(VENV)/.installed-local ## bring the tables up to date, in DATABASE_URL or else the local server
	@$(LOCAL) $(BIN)/python -m worker migrate $(ARGS)

status: $(VENV)/.installed-local ## what is waiting, pending, dead, by the given or the local servers
	@$(LOCAL) $(BIN)/python -m worker status $(ARGS)

replay: $(VENV)/.installed-local ## what is stuck, and with ARGS='--all --yes' make it claimable, by the given or the local servers
	@$(LOCAL) $(BIN)/python -m worker replay $(or $(ARGS),--all --dry-run)

docs: $(VENV)/.installed-docs ## the site of docs/, in .local/site: opened from there, it needs no server and no network
	@$(BIN)/python docs/_site/stage.py .local/site-pages
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean $(ARGS)

image: ## the container image orders-worker:VERSION, and the list of what is in it (BASE=image, or image@digest; REQUIREMENTS=otel: with traces)
	docker build --network host --build-arg BASE=$(BASE) --build-arg REQUIREMENTS=$(REQUIREMENTS) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
		-t orders-worker:$(VERSION) -t orders-worker:latest .
	@mkdir -p .local && docker run --rm --entrypoint cat orders-worker:$(VERSION) /opt/worker/sbom.cdx.json >$(SBOM)
	@echo "What is in it: $(SBOM)"

up: image ## the stack of compose.yaml in the background (REPLICAS=3, PROFILES=observability: with Prometheus and Grafana)
	deploy/make-secrets
	COMPOSE_PROFILES=$(PROFILES) $(COMPOSE) up -d --scale worker=$(REPLICAS)
	$(COMPOSE) ps

down: ## stop the stack; data and secrets stay
	COMPOSE_PROFILES=observability $(COMPOSE) down

clean: ## remove .venv and all caches; local data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find . -path ./.local -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

clean-local: ## remove the data of the local servers
	rm -rf .local

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "venv is missing (on Debian: apt install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.installed-local: $(VENV)/.created pyproject.toml requirements/local.txt
	@echo "Installing what \`make run\` needs into $(VENV) ..."
	@$(INSTALL) --require-hashes -r requirements/local.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.created pyproject.toml requirements/bench.txt
	@echo "Installing what the benchmark needs into $(VENV) ..."
	@$(INSTALL) --require-hashes -r requirements/bench.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.installed-local

$(VENV)/.installed-docs: $(VENV)/.created pyproject.toml requirements/docs.txt
	@echo "Installing what the site of docs/ needs into $(VENV) ..."
	@$(INSTALL) --require-hashes -r requirements/docs.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml requirements/dev.txt
	@echo "Installing what tests and checks need into $(VENV) ..."
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.installed-local
