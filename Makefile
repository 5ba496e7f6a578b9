# Every target works on a fresh machine with Python 3.11+: it makes .venv and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo
WASM := build/npm/.ready
CORTEX_M3 := build/cortex_m3/firmware.elf
# Machine code that Numba makes in tests and measurements stays here and not in the user's cache.
export CELLWARDEN_CACHE ?= $(CURDIR)/build/cache

.DEFAULT_GOAL := help
.PHONY: help demo test test-long hil hil-here hil-cortex-m3 hil-gateway hil-latency test-quick physics mutate cuts fuzz coverage lint bench evaluate traceability picture clean

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: .venv/.demo ## Compile the demonstration pack, simulate 20 minutes with a fault, replay them
	@mkdir -p $(DEMO)
	@echo "1. compile: profile + DBC -> vehicle image"
	@$(BIN)/cellwarden compile dbc/demo_pack.toml -o $(DEMO)/demo_pack.cwi
	@echo "2. simulate: twenty minutes on the road, with a fault"
	@$(BIN)/cellwarden simulate demo -o $(DEMO)/demo.log
	@echo
	@echo "3. replay: the log through the detection core"
	@$(BIN)/cellwarden replay $(DEMO)/demo.log -p $(DEMO)/demo_pack.cwi
	@echo
	@echo "Next, with a log of your own:"
	@echo "  $(BIN)/cellwarden lint YOUR.dbc                            what the DBC lacks for this use"
	@echo "  $(BIN)/cellwarden decode YOUR.log --dbc YOUR.dbc           every signal, as CSV"
	@echo "  cp dbc/demo_pack.toml yours.toml                         then map your signals in it (docs/profile.md)"
	@echo "  $(BIN)/cellwarden replay YOUR.log -p yours.toml            the alarms"

# Coverage makes tests three times as slow: these reach nearly all of the core, and run under it instead of without.
COVERED = $(addprefix tests/core/test_,$(addsuffix .py,runaway engine cells probes pack measure hazards scan))
TESTS = tests/corpus tests/bench tests/evaluate tests/fuzz tests/mutate tests/host tests/box tests/device tests/blackbox tests/update tests/core

test: .venv/.test $(WASM) $(CORTEX_M3) lint ## Run the checks and all tests; how much of the core is covered
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n 2 --dist worksteal -q --long no $(TESTS) $(COVERED:%=--ignore=%)
	$(BIN)/python -m pytest -n 2 --dist worksteal -q --cov --cov-report= $(COVERED)
	$(BIN)/coverage report --include='firmware/cellwarden/core/*' --fail-under=99 --show-missing --skip-covered

test-long: .venv/.test $(WASM) $(CORTEX_M3) ## The tests that `make test` leaves out for the time they take, and more random tales
	$(BIN)/python -m pytest -n 2 --dist worksteal -q --long only $(TESTS)
	CELLWARDEN_TALES=20 $(BIN)/python -m pytest -n 2 -q tests/core/test_tales.py

PLAY = $(BIN)/python -m pytest -v -p no:cacheprovider
# Where time is that of the frames' own stamps, nobody minds that two boxes share the machine.
SIDE_BY_SIDE = -n 2 --dist worksteal
ON_CORTEX_M3 = --cw-device cortex-m3 --cw-expects box_late --cw-expects box_log
GATEWAY = $(BIN)/python -m cellwarden_tools.hil.gateway

PARTS = hil-here hil-cortex-m3 hil-gateway

ifdef ARGS
hil: .venv/.test ## Acceptance tests on running boxes: all there are here; ARGS="--cw-device /dev/ttyACM0" for a board
	$(PLAY) tests/hil $(ARGS)
else
hil:
	@status=0; for part in $(PARTS); do $(MAKE) $$part || status=1; done; exit $$status
endif

hil-here: .venv/.test ## The part of it on MicroPython here, fed through a serial line
	@status=0; \
	$(PLAY) tests/hil --ignore=tests/hil/test_scenarios.py --ignore=tests/hil/test_weeks.py || status=1; \
	$(PLAY) $(SIDE_BY_SIDE) tests/hil/test_weeks.py tests/hil/test_scenarios.py || status=1; exit $$status

hil-cortex-m3: .venv/.test ## The part of it on the emulated Cortex-M3 (QEMU), with 128 KiB of heap
	@status=0; \
	$(PLAY) -rs $(ON_CORTEX_M3) tests/hil/test_box.py tests/hil/test_flash.py tests/hil/test_latency.py || status=1; \
	$(PLAY) -rs $(ON_CORTEX_M3) $(SIDE_BY_SIDE) tests/hil/test_scenarios.py \
		-k "not (demo or insulation_falls_for_a_week or joint_loosens or pack_sensor_drifts)" || status=1; exit $$status

hil-gateway: .venv/.test ## The part of it in two virtual machines with CAN controllers and the kernel's own driver (QEMU)
	@if $(GATEWAY) --fetch; then $(MAKE) -k -j2 --output-sync=target gateway-python gateway-micropython; \
	else echo "make: the tests on the gateway are left out" >&2; fi

hil-latency: .venv/.test ## How late the alarm frame is on the gateway: a thousand of them on each interpreter (QEMU)
	@$(GATEWAY) --fetch && $(MAKE) -k -j2 --output-sync=target latency-python latency-micropython

latency-%: .venv/.test
	$(GATEWAY) $(PLAY) tests/hil/test_latency.py --cw-device $* --cw-bus socketcan:can0@can1

gateway-%: .venv/.test
	$(GATEWAY) $(PLAY) tests/hil/test_box.py --cw-device $* --cw-bus socketcan:can0@can1

coverage: .venv/.test $(WASM) $(CORTEX_M3) ## How much of everything the tests run; takes ten minutes
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n 2 -q -m "not numba" --cov --cov-report= tests/core tests/host tests/device
	$(BIN)/coverage report --fail-under=90 --skip-covered | tail -n 40

test-quick: .venv/.test ## Run the tests of core and host only
	$(BIN)/python -m pytest -n 2 -q tests/core tests/host

physics: .venv/.physics ## Hold the simulator's cells to PyBaMM's (600 MB more in .venv)
	$(BIN)/python -m pytest -q tests/host/test_cells_beside_pybamm.py

mutate: .venv/.test ## Make every small fault in the detection core that can be made, and see each fail a test
	$(BIN)/python tests/mutate/mutate.py $(ARGS)

cuts: .venv/.test ## Cut the power of black box and update at every operation and twice in a row; any bytes for verify
	CELLWARDEN_CUTS=whole $(BIN)/python -m pytest -n 2 -q -rP --timeout 3600 tests/blackbox/test_cuts_posix.py \
		tests/blackbox/test_cuts_littlefs.py tests/blackbox/test_tamper_annex.py tests/blackbox/test_fuzz_verify.py \
		tests/update/test_cuts.py tests/update/test_cuts_posix.py tests/update/test_refused.py

fuzz: .venv/.test $(WASM) ## 50 million random and hostile frames: every state in its bounds, all engines agree
	$(BIN)/python tests/fuzz/fuzz.py $(ARGS)

lint: .venv/.test ## Ruff, and the integer-only check of the detection core
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/core/integer_check.py firmware/cellwarden/core

bench: .venv/.bench $(WASM) $(CORTEX_M3) ## Measure everything side by side and write docs/benchmarks.md; ARGS=--quick for a try
	$(BIN)/python tests/bench/bench.py $(ARGS)

evaluate: .venv/.test ## Detection figures on scenarios and recordings, beside the rivals': writes docs/evaluation.md
	PYTHONPATH=tests/bench $(BIN)/python tests/evaluate/evaluate.py $(ARGS)

traceability: .venv/.test ## Write docs/traceability.md: each rule and clause with its tests
	$(BIN)/python docs/make_traceability.py

picture: .venv/.test ## Draw docs/replay.svg, the README's picture, from a replay of the demonstration
	$(BIN)/python docs/make_picture.py

clean: ## Remove the environment and everything built
	rm -rf .venv build dist .pytest_cache .hypothesis .ruff_cache .coverage*

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than 3.11; say make PYTHON=python3.11 (or newer)" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "make: python3-venv is missing: apt-get install python3-venv" >&2; exit 2; }
	@touch $@

.venv/.demo: .venv/.made pyproject.toml
	@echo "installing into .venv (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/.test: .venv/.made pyproject.toml
	@echo "installing into .venv (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	@touch $@ .venv/.demo

# A rival that cannot be installed is left out; the page says so.
.venv/.bench: .venv/.test
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]' || echo "make: some rivals are missing" >&2
	@touch $@

.venv/.physics: .venv/.test
	@echo "installing PyBaMM into .venv (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[physics]'
	@touch $@

# A 32-bit MicroPython for the device tests; without it they are skipped and say so.
$(WASM): .venv/.test
	@$(BIN)/python -m cellwarden_tools.engines.fetch_wasm build/npm || true
	@mkdir -p $(@D) && touch $@

# MicroPython for an emulated Cortex-M3, built once; without QEMU and the compiler its tests are skipped and say so.
$(CORTEX_M3): .venv/.test $(wildcard host_tools/cellwarden_tools/engines/cortex_m3_board/* host_tools/cellwarden_tools/engines/cortex_m3_boot.py)
	@$(BIN)/python -m cellwarden_tools.engines.build_cortex_m3 $(@D) && touch $@ || true
