# Every target does its own set-up in .venv, once. `make rehearse` and `make test` are the two to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JS_READY := tests/js/node_modules/.ready
CONSOLE := reference_server/console
CONSOLE_READY := $(CONSOLE)/node_modules/.ready
# Most tests wait for processes and clocks rather than compute, so four of them keep two cores busy.
WORKERS ?= 4
# Compiled files are kept, whatever the caller's environment says: the tests start some hundred Python processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: rehearse test unit check lint bench redteam serve docs console lock format

rehearse: $(READY)
	$(BIN)/toolkit rehearse --target embedded

test: $(READY) $(JS_READY) $(CONSOLE_READY)
	$(BIN)/pytest tests --ignore=tests/benchmarks --toolkit-scenarios -n $(WORKERS) --dist loadgroup

unit: $(READY)
	$(BIN)/pytest tests/unit -q -n 2

check: lint
	$(BIN)/pytest tests/source -q -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/pytest tests/benchmarks -q -s -p no:cacheprovider

# Attacks on a server on loopback, five times as much of each as in the suite, with the figures of a bystander.
redteam: $(READY)
	REDTEAM_SIZE=5 $(BIN)/pytest tests/redteam -q -s -p no:cacheprovider

# A sample of wrong versions of our own migrations, always the same one: who would notice them?
mutants: $(READY)
	$(BIN)/toolkit migrate mutate --bundled --version 20250727000000 --version 20250727000001 \
	  --sample 300 --seed 1 --budget 9m --min-score 85

serve: $(READY)
	$(BIN)/toolkit up --foreground

# Into site/, which opens without a server; a link that leads nowhere fails.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What the server serves at /console, from its sources.
console: $(CONSOLE_READY)
	cd $(CONSOLE) && PATH="$(CURDIR)/$(CONSOLE)/node_modules/.bin:$(CURDIR)/$(BIN):$$PATH" vite build

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	touch $@

# The official JavaScript client and the supabase CLI, for tests; node itself comes from a wheel.
$(JS_READY): tests/js/package.json tests/js/package-lock.json $(READY)
	cd tests/js && PATH="$(CURDIR)/$(BIN):$$PATH" npm install --no-save --no-audit --no-fund --loglevel=error
	touch $@

# TypeScript and what the console is made from; the server serves its built files and needs none of it.
$(CONSOLE_READY): $(CONSOLE)/package.json $(CONSOLE)/package-lock.json $(READY)
	cd $(CONSOLE) && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error
	touch $@

lock: $(READY)
	{ echo "# Locked versions of everything the project installs; regenerate with \`make lock\`."; \
	  $(BIN)/pip freeze --exclude-editable; } > constraints.txt
