# Everything here works on a bare Debian or Ubuntu: `setup` installs what is missing.

PY := .venv/bin/python
PYTEST_ARGS ?= -n 2 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help setup run test check fix bench soak pictures screens schema lock clean

help: ## List every target in a sentence.
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r target says; do printf '  make %-8s  %s\n' "$$target" "$$says"; done

setup: ## Install the missing system packages and the locked Python ones into .venv.
	@.ci/setup

run: setup ## Run the first example, in the foreground.
	@exec .venv/bin/blkrun run examples/quickstart.toml

test: setup ## Run all tests but the long ones (PYTEST_ARGS are pytest's).
	@$(PY) -m pytest -m "not soak" $(PYTEST_ARGS)

check: setup ## Check format, lint and types, and change nothing.
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy

fix: setup ## Format, and correct what the linter can.
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

bench: setup ## Measure the data path beside others (BENCH_ARGS=--quick, --only, --servers, …).
	@$(PY) -m tests.bench $(BENCH_ARGS)

soak: setup ## Run the long tests, one at a time.
	@$(PY) -m pytest -m soak --timeout 3600

pictures: setup ## Take the README's pictures again, from the running program.
	@$(PY) -m tests.screenshot

screens: setup ## Write the screens kept in tests/dashboard/screens again, for git to show what changed.
	@rm -f tests/dashboard/screens/*.txt
	@BLKRUN_WRITE_SCREENS=1 $(PY) -m pytest -q tests/dashboard/test_dashboard_screens.py

schema: setup ## Write blkrun/schema.json again, after a change to the options.
	@$(PY) -m blkrun schema >blkrun/schema.json.new
	@mv blkrun/schema.json.new blkrun/schema.json

# The versions in the lock stay where they fit; LOCK_ARGS=--upgrade takes the newest.
lock: ## Pin again what pyproject.toml names in requirements.lock, with uv.
	@set -e; tools=$$(mktemp -d); trap 'rm -rf "$$tools"' EXIT; \
	python3 -m venv "$$tools"; \
	"$$tools/bin/python" -m pip install --quiet uv; \
	printf '%s\n' hatchling editables | "$$tools/bin/uv" pip compile --quiet \
		--python "$$tools/bin/python" --python-version 3.11 --universal \
		--all-extras --generate-hashes --no-annotate --no-emit-index-url \
		--custom-compile-command 'make lock' $(LOCK_ARGS) \
		--output-file requirements.lock pyproject.toml -

clean: ## Remove .venv, caches and builds, and leave disk images alone.
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
