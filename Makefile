# `make deps` installs Debian packages (it asks first on a terminal; YES=1 does not), `make build` leaves
# .venv/bin/{pilot,pilotd,sprite}, `make quick` is for an editor's loop. `make test` and `make demo` do all of it by themselves.
SHELL := /bin/bash
.DELETE_ON_ERROR:
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
APT_BUILD := gcc libc6-dev musl-tools python3-venv python3-dev
APT_RUN := mmdebstrap erofs-utils e2fsprogs libseccomp2 iproute2 kmod nftables zstd lz4 cpio qemu-system-x86
APT_TEST := busybox-static runc crun attr uidmap podman buildah conmon containerd criu skopeo docker-registry openssl curl openssh-client
# Another nodejs than Debian's brings its own npm, and refuses that of Debian beside it.
APT_OUTSIDE := chromium nginx-light sqlite3 $(if $(shell command -v npm),,nodejs npm)
APT_FUZZ := clang libclang-rt-dev
APT_WORKLOADS := fio stress-ng dbench postgresql postgresql-contrib
INIT := src/pilot/kernel/bin/pilot-init
STATIC_CC := native/static-cc
LAUNCH_SRC := $(wildcard native/launch/*.c native/launch/*.h)
LOOKASIDE_SRC := $(wildcard native/volume/*.c native/volume/*.h)
FRONT_SRC := $(wildcard native/front/*.c native/front/*.h)
INIT_SRC := $(wildcard native/init/*.c)
INIT_HDR := $(wildcard native/init/*.h)
export DEBIAN_FRONTEND := noninteractive

# Where `make install` puts programs (bin/), what they consist of (lib/pilot/) and units of systemd.
PREFIX ?= /usr/local
UNITS ?= $(PREFIX)/lib/systemd/system
REQUIREMENTS ?= packaging/requirements.lock
PROGRAMS := pilot pilotd sprite

.PHONY: deps build clients install uninstall images quick check sanitize test vm-tests container-clients vm-clients demo bench soak network-soak outside-tests cloud-clients debian-proof crashlab chaos agent-kills neighbour workloads fuzz contract langchain adversary compare clean lock

build: $(STAMPS)/package $(STAMPS)/bundle $(STAMPS)/front $(INIT)

# $(call missing,packages): shell words that print those that are not installed.
missing = for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done

# $(call install,packages): installs those that are missing, and asks before it does.
define install
	@missing=$$($(call missing,$(1))); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	echo "Debian packages to install:" $$missing; \
	command -v apt-get >/dev/null || { echo "no apt-get here: install what they are called on this system, and go on"; exit 1; }; \
	if [ -t 0 ] && [ -z "$(YES)" ]; then read -p "install them? [Y/n] " answer; case "$$answer" in ""|[Yy]*) ;; *) exit 1;; esac; fi; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

deps:
	$(call install,$(APT_BUILD) $(APT_RUN) $(APT_TEST))

# What the build itself needs. It installs nothing.
$(STAMPS)/apt-build: Makefile
	@missing=$$($(call missing,$(APT_BUILD))); \
	if command -v dpkg-query >/dev/null && [ -n "$$missing" ]; then echo "missing:" $$missing "(make deps)"; exit 1; fi
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: requirements.lock | $(STAMPS)/apt-build
	@echo "installing Python packages into $(VENV) (requirements.lock)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --require-hashes -r requirements.lock
	@mkdir -p $(STAMPS) && touch $@

PURELIB = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# pip's own script would look through site-packages, and at PYTHON* of whoever calls.
$(STAMPS)/package: $(STAMPS)/venv pyproject.toml setup.py bin/pilot.in bin/pilot-cold $(STATIC_CC) $(LAUNCH_SRC) $(LOOKASIDE_SRC)
	@$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@sed -e 's|@PYTHON@|$(CURDIR)/$(BIN)/python|' -e 's|@PATH@|"$(CURDIR)/src", "$(PURELIB)"|' -e 's|@BUNDLE@|$(CURDIR)/$(BUNDLE)|' bin/pilot.in >$(BIN)/pilot-cold
	@chmod +x $(BIN)/pilot-cold
	@$(BIN)/python -m compileall -q src/pilot
	@mkdir -p $(STAMPS) && touch $@

# The code of all modules of a command line, in one file.
BUNDLE := $(VENV)/lib/pilot-cold.bundle
$(STAMPS)/bundle: $(STAMPS)/package $(shell find src/pilot -name '*.py')
	@$(BIN)/python -IS -c 'import sys; sys.path += sys.argv[2:]; from pilot import bundle; bundle.main(sys.argv[1])' \
	  $(CURDIR)/$(BUNDLE) $(CURDIR)/src $(PURELIB)
	@touch $@

# `pilot` itself: it carries the digest of the sources that a planner must have, so any of them makes it anew.
$(STAMPS)/front: $(FRONT_SRC) native/launch/launch.h $(STATIC_CC) $(STAMPS)/package $(shell find src/pilot -name '*.py')
	@$(STATIC_CC) -s -DBUILD='"'$$($(BIN)/python -m pilot.planner.build)'"' -DCOLD='"$(CURDIR)/$(BIN)/pilot-cold"' \
	  -DSOCKET='"/run/pilot-planner/socket"' -o $(BIN)/.pilot $(filter %.c,$(FRONT_SRC)) && mv $(BIN)/.pilot $(BIN)/pilot
	@touch $@

$(INIT): $(INIT_SRC) $(INIT_HDR) $(STATIC_CC) | $(STAMPS)/apt-build
	@mkdir -p $(@D)
	$(STATIC_CC) -o $@ $(INIT_SRC)

# Clients that are not ours, in environments of their own: what makes clients of a document, and langchain's suite.
clients: $(STAMPS)/clients

$(STAMPS)/langchain: tests/langchain/requirements.lock $(STAMPS)/venv
	@test -x $(VENV)/langchain/bin/python || $(PYTHON) -m venv $(VENV)/langchain
	@$(VENV)/langchain/bin/pip install -q --require-hashes -r $<
	@touch $@

$(STAMPS)/clients: tests/clients/requirements.lock $(STAMPS)/venv
	@test -x $(VENV)/clients/bin/python || $(PYTHON) -m venv $(VENV)/clients
	@$(VENV)/clients/bin/pip install -q --require-hashes -r $<
	@touch $@

# google-auth, azure-identity and PyJWT with what a machine's agent writes: tests/outside/test_cloud_clients.py
$(STAMPS)/clouds: tests/outside/clouds.lock $(STAMPS)/venv
	@test -x $(VENV)/clouds/bin/python || $(PYTHON) -m venv $(VENV)/clouds
	@$(VENV)/clouds/bin/pip install -q --require-hashes -r $<
	@touch $@

cloud-clients: build $(STAMPS)/clouds
	env PILOT_OUTSIDE=1 $(PRIVATE) $(BIN)/pytest tests/outside/test_cloud_clients.py

# The shell would take a blank in it for the end of a path, which is removed; and what is installed knows where it lies.
define PLACED
$(if $(DESTDIR),$(error DESTDIR is not supported: what is installed has to stay where it is put; say PREFIX))
$(if $(filter 1,$(words $(PREFIX))),,$(error PREFIX is "$(PREFIX)": it has to be one path without blanks))
$(if $(filter /%,$(PREFIX)),,$(error PREFIX is "$(PREFIX)": it has to be absolute))
endef

# An environment of its own, without what only tests need; this checkout may go afterwards. docs/howto/operate-pilotd.md
install: $(STAMPS)/venv $(STATIC_CC)
	@: $(PLACED)
	@test -x $(PREFIX)/lib/pilot/bin/python || $(PYTHON) -m venv --without-pip $(PREFIX)/lib/pilot
	@$(if $(REQUIREMENTS),$(BIN)/pip --python $(PREFIX)/lib/pilot/bin/python install -q --require-hashes -r $(REQUIREMENTS))
	@rm -rf build/wheel && $(BIN)/pip wheel -q --no-deps --no-build-isolation -w build/wheel .
	@$(BIN)/pip --python $(PREFIX)/lib/pilot/bin/python install -q --no-deps --force-reinstall build/wheel/*.whl
	@mkdir -p $(PREFIX)/bin $(UNITS)
	@for program in $(PROGRAMS); do ln -sfn ../lib/pilot/bin/$$program $(PREFIX)/bin/$$program; done
	@for unit in $(notdir $(wildcard packaging/systemd/*)); do \
	  sed 's|/usr/bin/pilot|$(PREFIX)/bin/pilot|' packaging/systemd/$$unit >$(UNITS)/$$unit; done
	@mkdir -p $(PREFIX)/lib/pilot/openrc
	@sed 's|/usr/bin/pilot|$(PREFIX)/bin/pilot|' packaging/openrc/pilotd >$(PREFIX)/lib/pilot/openrc/pilotd
	@chmod 755 $(PREFIX)/lib/pilot/openrc/pilotd
	@echo "installed: $(addprefix $(PREFIX)/bin/,$(PROGRAMS)); units in $(UNITS)"

# What install has put there, and nothing else: sprites, images and options stay.
uninstall:
	@: $(PLACED)
	rm -f $(addprefix $(PREFIX)/bin/,$(PROGRAMS)) $(addprefix $(UNITS)/,$(notdir $(wildcard packaging/systemd/*)))
	rm -rf $(PREFIX)/lib/pilot

# What tests and demo boot from, built outside the private (and offline) network namespace. Kept in /var/cache/pilot.
images: deps build
	$(BIN)/pilot image build guest guest-disk kernel world-minimal
	@$(BIN)/python -m tests.support.guestimage

check: build
	$(BIN)/ruff check src tests benchmarks setup.py
	$(BIN)/ruff format --check src tests benchmarks setup.py
	$(BIN)/clang-format --dry-run --Werror $(shell find native -name '*.[ch]')
	$(BIN)/mypy
	$(BIN)/pytest -q tests/checks

# What needs neither root nor Debian packages beyond the build's, a few processes at a time.
quick: build
	@$(BIN)/ruff check -q src tests benchmarks setup.py && $(BIN)/ruff format -q --check src tests benchmarks setup.py
	@$(BIN)/mypy
	@$(BIN)/pytest -q -n 4 -m 'not slow' tests/checks tests/golden tests/unit

# The C parts under AddressSanitizer and UndefinedBehaviorSanitizer, with the tests that feed them damaged input.
sanitize: build
	$(BIN)/python -m tests.support.sanitized

PRIVATE := $(BIN)/python -m tests.support.private --

# As many sessions as LANES says, each in namespaces of its own, take the files in turn.
LANES ?= 2
UNSTEADY ?= 5
test: deps check sanitize images clients
	$(BIN)/python -m tests.support.lanes -n $(LANES) --unsteady $(UNSTEADY) tests --ignore=tests/checks

# Tests inside virtual machines, those that take long too; what they said goes to docs/reference/vm-tests.md, and of ways
# around a network policy to docs/reference/network-policy.md.
vm-tests: images clients
	@$(BIN)/python -m tests.support.guestimage host
	@rm -f docs/reference/vm-tests.md
	$(PRIVATE) env PILOT_VM_TESTS=1 PILOT_VM_TESTS_REPORT=docs/reference/vm-tests.md $(BIN)/pytest tests/guest/test_in_vm.py
	$(PRIVATE) env PILOT_VM_TESTS=1 $(BIN)/pytest -p tests.support.networkreport tests/guest/test_network_vm.py
	$(PRIVATE) env PILOT_VM_TESTS=1 $(BIN)/pytest tests/guest/test_whole_vm.py tests/guest/test_full_disk_vm.py tests/guest/test_connectors_vm.py tests/guest/test_connectors_machine_vm.py \
	  tests/guest/test_unit_vm.py tests/guest/test_identity_vm.py

# Docker and podman in a sprite, package managers behind a policy, a browser, @fly/sprites: with the standard image, and
# packages of the mirrors and registries that this machine is configured for.
outside-tests: images $(STAMPS)/clouds
	$(call install,$(APT_OUTSIDE))
	$(BIN)/pilot image build world-standard
	env PILOT_OUTSIDE=1 $(PRIVATE) $(BIN)/pytest tests/outside

# Clients and suites that are not ours, and examples/, in machines of one kind; each row's end goes to
# docs/reference/clients.md. ROWS="FILES -k EXPRESSION" asks for some of them.
CLIENT_ROWS := tests/compat/test_machines_clients.py tests/compat/test_machines_flyctl.py tests/outside/test_fly_sprites.py \
  tests/outside/test_fly_admin.py tests/outside/test_machine_examples.py tests/outside/test_walk.py
ASKED := -p tests.support.clientsreport
container-clients: ROWS ?= tests/kernel/test_sprites_matrix.py $(CLIENT_ROWS)
vm-clients: ROWS ?= tests/guest/test_sprites_matrix_vm.py $(CLIENT_ROWS)
container-clients vm-clients: images clients $(STAMPS)/langchain
	$(call install,$(APT_OUTSIDE))
	failed=0; \
	env PILOT_OUTSIDE=1 PILOT_OUTSIDE_IMAGE=minimal PILOT_VM_TESTS=1 PILOT_CLIENTS_ISOLATION=$(@:-clients=) \
	  $(PRIVATE) $(BIN)/pytest $(ASKED) $(ROWS) || failed=1; \
	$(if $(filter file,$(origin ROWS)),env PILOT_CLIENTS_ISOLATION=$(@:-clients=) $(PRIVATE) $(BIN)/python -m tests.langchain $(ASKED) || failed=1;) \
	exit $$failed

demo: images
	$(PRIVATE) $(BIN)/python -m examples.demo $(DEMO)

bench: images
	$(PRIVATE) $(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks report

# A thousand containers in a row, then eight at a time: nothing may be left.
soak: deps build
	$(PRIVATE) $(BIN)/python -m benchmarks.soak

# A thousand machines' networks at a time: nothing may be left.
NETWORKS ?= 1000
network-soak: build
	$(PRIVATE) $(BIN)/python -m tests.support.networksoak $(NETWORKS)

# A Debian on a volume takes apt-get install while the processes below it are killed a hundred times.
debian-proof: images
	$(BIN)/python -m tests.faults.debian_proof fetch
	$(PRIVATE) $(BIN)/python -m tests.faults.debian_proof run --kills 100 --report docs/reference/debian-proof.md

# Worker, keeper, volumed and zygote of a volume killed, alone and together, under writers: docs/reference/crash-report.md.
CRASHLAB ?= --kills 60 --seed 1
crashlab: build
	$(PRIVATE) $(BIN)/python -m tests.faults.crashlab $(CRASHLAB)

# Processes killed at random under clients with an oracle, as containers and as virtual machines: docs/reference/chaos.md.
CHAOS ?= --seconds 120 --seed 1
chaos: images
	$(PRIVATE) $(BIN)/python -m tests.faults.chaos $(CHAOS)
	$(PRIVATE) $(BIN)/python -m tests.faults.chaos $(CHAOS) --isolation vm --clients 2
	PILOT_EVERY_STEP=1 $(PRIVATE) $(BIN)/pytest tests/faults/test_machines_killed.py

# The agent of one machine killed during mixed operations of the contract, with an oracle: the same page.
KILLS ?= --operations 500 --seed 1
agent-kills: build
	$(PRIVATE) $(BIN)/python -m tests.faults.agent_kills $(KILLS)

# One sprite floods, fills, forks, is killed and restored; its neighbour sees no error and loses no row: the same page.
NEIGHBOUR ?= --seconds 300 --seed 1
neighbour: images
	$(PRIVATE) $(BIN)/python -m tests.faults.neighbour $(NEIGHBOUR)

# fio, stress-ng, dbench and PostgreSQL on a volume whose processes are killed: docs/reference/workloads.md.
WORKLOADS ?= --seconds 60 --seed 1
workloads: build
	$(call install,$(APT_WORKLOADS))
	$(PRIVATE) $(BIN)/python -m tests.workloads $(WORKLOADS) --report docs/reference/workloads.md

# Whatever is read of others, fed by fuzzers that watch what it does: docs/reference/fuzzing.md.
FUZZ ?= --seconds 60
fuzz: build
	$(call install,$(APT_FUZZ))
	$(BIN)/pip install -q --require-hashes -r tests/fuzz/requirements.lock
	$(BIN)/python -m tests.fuzz.campaign $(FUZZ) --report docs/reference/fuzzing.md

# Both OpenAPI documents against what serves them, asked by schemathesis: docs/reference/contract.md.
CONTRACT ?= --examples 5 --seed 1
contract: images
	@test -x $(VENV)/contract/bin/schemathesis || $(PYTHON) -m venv $(VENV)/contract
	@$(VENV)/contract/bin/pip install -q --require-hashes -r tests/contract/requirements.lock
	$(PRIVATE) $(BIN)/python -m tests.contract $(CONTRACT) --report docs/reference/contract.md

# langchain's standard tests of a sandbox, unmodified, on a sprite (packages come from the index that pip knows).
langchain: images $(STAMPS)/langchain
	$(PRIVATE) $(BIN)/python -m tests.langchain

# Probes from inside a sprite and floods from outside, as containers; what was seen goes to docs/reference/isolation.md.
adversary: images
	$(PRIVATE) env PILOT_ADVERSARY=1 PILOT_ADVERSARY_REPORT=docs/reference/isolation.md \
	  PILOT_ADVERSARY_ISOLATION=$(or $(ISOLATION),container) \
	  $(BIN)/pytest tests/adversary tests/faults/test_machine_killed.py tests/faults/test_starved.py

# Every case of tests/support/compare under runc, crun and pilot: what each saw, and what differs that was not meant to.
compare: deps build
	$(PRIVATE) $(BIN)/python -m tests.support.compare docs/reference/conformance-observed.json

# Pins with hashes, without addresses: of all that is worked and tested with, and of what pilotd runs with.
PIN := $(BIN)/pip-compile -q --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header
lock:
	$(PIN) --all-extras -o requirements.lock pyproject.toml
	$(PIN) --extra host -c requirements.lock -o packaging/requirements.lock pyproject.toml
	$(PIN) -o guest/world/python.lock guest/world/python.in
	cd guest/world/node && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts

clean:
	rm -rf $(VENV) $(STAMPS) build dist src/*.egg-info $(INIT)
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
