# aiosd: `make demo` and `make test` set themselves up; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types imports format bench eval torture fleet clean dev-environment demo-environment

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

demo: demo-environment ## real requests to five bundled experts under a RAM cap; BOARD=rpi5: on a simulated board
	@$(BIN)/python -m $(if $(BOARD),tools.demo.board $(BOARD),tools.demo)

test: dev-environment ## all tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: lint types imports test ## linters, types, layers and tests, as CI runs them

lint: dev-environment
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: dev-environment
	@$(BIN)/mypy

imports: dev-environment
	@$(BIN)/lint-imports --no-cache

format: dev-environment ## put the code into its one form
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

bench: dev-environment ## the figures of docs/figures.md, measured on this machine
	@$(BIN)/python -m tools.bench --json bench.json && echo "as JSON: bench.json"

eval: dev-environment ## how well and how fast texts find their expert; needs the data of ../shared/assets
	@$(BIN)/python -m tools.eval --json eval.json && echo "as JSON: eval.json"

fleet: dev-environment ## a thousand simulated boards, one publisher and bad releases; PLOT=fleet.png draws it
	@$(BIN)/python -m tools.fleet $(if $(PLOT),--plot $(PLOT))

torture: dev-environment ## kill boards and cut their power, 110,000 times; goes on where it stopped
	@nice -n 19 $(BIN)/python -m tools.torture --counts torture.json

clean: ## remove the environment and caches of this checkout
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

demo-environment:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; on Debian, Ubuntu and Raspberry Pi OS: sudo apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) tools/environment.py demo --venv $(VENV)

dev-environment:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; on Debian, Ubuntu and Raspberry Pi OS: sudo apt install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) tools/environment.py dev --venv $(VENV)
