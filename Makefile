# Statuswire: what to type. `make` alone lists the targets.
#
# Four environments, all made from hashed lock files: .venv holds the product
# and its tests, .venv-tools the SAM CLI and the embedded AWS (their pins clash),
# .venv-node what checks the state machines and exists for Node only, .venv-bench
# what the product is measured against, of Python and of Node.

PYTHON ?= python3
JOBS ?= 3
PRODUCT := .venv/.installed
TOOLS := .venv-tools/.installed
NODE := .venv-node/.installed
BENCH := .venv-bench/.installed
PY := .venv/bin/python
NPM := .venv/bin/npm --silent --ignore-scripts --omit-lockfile-registry-resolved \
	--legacy-peer-deps --no-audit --no-fund --no-update-notifier --cache $(CURDIR)/.local/npm

.PHONY: help demo test test-long soak breaks attacks bench lint format bundle openapi parameters graphs pictures \
	lock clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(PRODUCT) $(TOOLS) ## The whole path on an embedded AWS (ONCE=1: one pass, then exit; REPLICAS=3)
	@exec $(PY) -m infra.local $(if $(ONCE),--once) $(if $(REPLICAS),--replicas $(REPLICAS))

test: $(PRODUCT) $(TOOLS) $(NODE) ## All tests
	$(PY) -m pytest tests/core --cov=consumer/core --cov-branch --cov-fail-under=100
	$(PY) -m pytest --ignore=tests/core --numprocesses $(JOBS) --dist loadgroup

test-long: export LONG = 1
test-long: test ## All tests, with more examples and the real Apache Velocity

soak: $(PRODUCT) $(TOOLS) ## Every promise under every trouble: a report (SEED=, RUNS=, ONLY=, MINUTES=)
	$(PY) -m tests.soak $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(MINUTES),--minutes $(MINUTES))

breaks: $(PRODUCT) ## Break the product, one thing at a time: which tests notice (ONLY=, WRITE=1: into docs/)
	$(PY) -m tests.breaks --jobs $(JOBS) $(if $(ONLY),--only "$(ONLY)") $(if $(WRITE),--write)

attacks: $(PRODUCT) $(TOOLS) ## Attack a server, measure what others notice, and fuzz (FUZZ=, WRITE=1)
	$(PY) -m tests.attacks $(if $(WRITE),--write)
	$(PY) -m tests.attacks.fuzz_tokens $(or $(FUZZ),1000000)
	$(PY) -m tests.attacks.fuzz_handshakes $(or $(FUZZ),1000000)

bench: $(PRODUCT) $(BENCH) ## Side by side with peers (ONLY=, ROUNDS=, QUICK=1, WRITE=1: into docs/)
	$(PY) -m tests.bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(QUICK),--quick) $(if $(WRITE),--write)

lint: $(PRODUCT) $(TOOLS) ## ruff, mypy, import contracts, cfn-lint, sam validate, hadolint, zizmor
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	.venv-tools/bin/cfn-lint template.yaml infra/consumer.yaml infra/consumer-small.yaml infra/websocket-api.yaml
	.venv-tools/bin/hadolint Containerfile
	.venv-tools/bin/zizmor --offline --quiet .github/workflows
	@mkdir -p .local/home
	for template in template.yaml infra/websocket-api.yaml; do \
		HOME=$(CURDIR)/.local/home SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 \
			.venv-tools/bin/sam validate --lint --template $$template || exit 1; done

format: $(PRODUCT) ## Put the code in its house style
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

bundle: $(PRODUCT) ## What infra/consumer-small.yaml installs, for its `sam deploy` to upload
	PATH=$(CURDIR)/.venv/bin:$$PATH sh infra/image/bundle.sh .local/bundle

openapi: $(PRODUCT) ## Write infra/openapi.yaml from its source
	$(PY) -m infra.openapi

parameters: $(PRODUCT) ## Write docs/parameters.md from the templates
	$(PY) -m infra.parameters

graphs: $(PRODUCT) ## Write the graphs that the dashboard draws from statemachines/
	$(PY) -m infra.graphs

pictures: $(PRODUCT) ## Take the dashboard's pictures: docs/dashboard.png, and more in .local/pictures
	$(PY) -m tests.browser.pictures

lock: ## Renew the lock files from the .in files (needs uv)
	for name in dev tools bench; do \
		uv pip compile --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command "make lock" --upgrade \
			requirements/$$name.in -o requirements/$$name.txt || exit 1; done
	# What runs is what was tested.
	uv pip compile --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --upgrade --constraint requirements/dev.txt \
		requirements/consumer.in -o requirements/consumer.txt
	for wanted in lambdas/*/requirements.in infra/websocket_layer/requirements.in; do \
		uv pip compile --python-version 3.11 --generate-hashes \
			--custom-compile-command "make lock" --upgrade \
			$$wanted -o $${wanted%.in}.txt || exit 1; done
	for folder in npm npm-bench; do \
		$(NPM) update --package-lock-only --prefix requirements/$$folder || exit 1; done

clean: ## Remove everything that make has made
	rm -rf .venv .venv-tools .venv-node .venv-bench .local .aws-sam .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(PRODUCT): requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Statuswire needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "Setting up .venv (the product and its tests) …"
	@$(PYTHON) -m venv --clear .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@.venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes requirements/dev.txt
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --offline --editable .
	@touch $@

$(TOOLS): requirements/tools.txt $(PRODUCT)
	@echo "Setting up .venv-tools (SAM CLI and the embedded AWS) …"
	@.venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-tools
	@.venv/bin/uv pip sync --quiet --python .venv-tools/bin/python --require-hashes requirements/tools.txt
	@touch $@

$(NODE): requirements/npm/package.json requirements/npm/package-lock.json $(PRODUCT)
	@echo "Setting up .venv-node (checks of the state machines and the dashboard) …"
	@mkdir -p .venv-node
	@cp requirements/npm/*.json .venv-node
	@$(NPM) ci --prefix .venv-node
	@touch $@

$(BENCH): requirements/bench.txt requirements/npm-bench/package.json requirements/npm-bench/package-lock.json $(PRODUCT)
	@echo "Setting up .venv-bench (what the product is measured against) …"
	@.venv/bin/uv venv --quiet --clear --python .venv/bin/python .venv-bench
	@.venv/bin/uv pip sync --quiet --python .venv-bench/bin/python --require-hashes requirements/bench.txt
	@cp requirements/npm-bench/*.json .venv-bench
	@$(NPM) ci --prefix .venv-bench
	@touch $@
