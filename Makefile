# Every command of this repository. `make` lists them.
#
#   DISTRO=jazzy|kilted   the ROS 2 to work with (nothing: the sourced one, else jazzy)
#   PYTHON=python3.12     the Python to make environments with
#   ARGS='-k pairing'     more arguments, for test, soak, demo and bench

PYTHON ?= python3
DISTRO ?=
ARGS ?=
SECONDS ?= 0
VIEW ?= 1
environment := $(PYTHON) .ci/environment.py
with_ros := $(environment) --distro "$(DISTRO)"

.DEFAULT_GOAL := help
.PHONY: help setup test test-oldest test-gpu demo soak bench bench-full pictures lint clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## make .venv with ROS 2 and this package in it; quick where nothing changed
	@$(with_ros)

test: ## set up, then run every test but the soaks
	@$(with_ros) -- python .ci/run_tests.py $(ARGS)

test-oldest: ## the tests without ROS, with the oldest supported libraries
	@$(environment) --oldest -- python .ci/run_tests.py --layers unit,engines $(ARGS)

test-gpu: ## on a machine with a card: build, check, time, soak (PYTHON= the one with the engines)
	@$(PYTHON) test/gpu/run.py $(ARGS)

demo: ## fly a simulated drone past the node, shown in the browser (SECONDS=10, VIEW=0)
	@$(with_ros) -- python -m mast3r_ros.ros.demo --seconds $(SECONDS) $(if $(filter 0,$(VIEW)),--no-view) $(ARGS)

soak: ## the long tests: minutes of traffic, for leaks and drift
	@$(with_ros) -- python .ci/run_tests.py --soak $(ARGS)

bench: ## measure side by side: a table, build/bench.json and build/bench.png
	@$(with_ros) -- python test/bench/run.py $(ARGS)

bench-full: ## the larger networks as well: hours, and goes on where it ended (ARGS=--again)
	@$(with_ros) -- python test/bench/full.py $(ARGS)

pictures: ## draw docs/pictures anew, from the simulated flight
	@$(with_ros) -- python .ci/pictures.py

lint: ## style, types and manifests
	@$(with_ros) -- python .ci/lint.py

clean: ## remove all that these commands made
	rm -rf build .venv .venv-kilted .venv-oldest *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
