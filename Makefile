# fleetd's commands. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# release, or dev for a quicker build.
PROFILE ?= release
BUILT = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/fleetd

# Where `make install` puts things: root to /usr/local, a user to ~/.cargo/bin and ~/.local/share; PREFIX=… overrides both.
ROOT := $(filter 0,$(shell id -u))
ifdef PREFIX
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
else ifdef ROOT
BINDIR ?= /usr/local/bin
DATADIR ?= /usr/local/share
UNITDIR ?= /etc/systemd/system
else
BINDIR ?= $(or $(CARGO_HOME),$(HOME)/.cargo)/bin
DATADIR ?= $(or $(XDG_DATA_HOME),$(HOME)/.local/share)
endif
BASH_COMPLETIONS = $(DATADIR)/bash-completion/completions/fleet
ZSH_COMPLETIONS = $(DATADIR)/zsh/site-functions/_fleet
FISH_COMPLETIONS = $(DATADIR)/fish/vendor_completions.d/fleet.fish

.PHONY: help
help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build fleetd (PROFILE=dev for a quick build)
	cargo build --locked --profile $(PROFILE)

.PHONY: demo
demo: ## run a demonstration fleet here until Ctrl-C (RUNTIME=claude or codex takes the real CLI)
	@tests/demo.sh

.PHONY: test
test: packages agents ## install what the tests need and run them all
	if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --locked; else cargo test --locked; fi

.PHONY: packages
packages:
	@tests/setup.sh packages cc git tmux node npm zones systemd-analyze ps

.PHONY: agents
agents: ## install Claude Code and Codex at the tests' versions into target/agents
	@tests/setup.sh agents

.PHONY: lint
lint: ## check the format, clippy and, where cargo-deny is installed, licences and advisories
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; \
	else echo "lint: cargo-deny is not installed, so licences and advisories were not checked (cargo install cargo-deny)"; fi

# INJECTIONS, CHAOS and LOAD: how many crashes, how many seconds of random kills, how many busy threads beside the real CLIs.
INJECTIONS ?= 2000
CHAOS ?= 600
LOAD ?= 4

.PHONY: soak
soak: packages agents ## 2,000 crashes of the daemon, ten minutes of random kills, 200 prompts to each real CLI on a busy machine
	FLEET_SOAK=$(INJECTIONS) cargo test --locked --test it -- --nocapture --exact \
		hostile_crashes::a_daemon_killed_at_any_step_loses_no_prompt_and_types_none_twice
	FLEET_CHAOS=$(CHAOS) cargo test --locked --test it -- --nocapture --test-threads 1 chaos::
	FLEET_EVERY_YEAR=1 cargo test --locked --lib -- ticking_through_every_kind_of_change
	FLEET_LOAD=$(LOAD) cargo test --locked --test it -- --nocapture --test-threads 2 real_many::

.PHONY: bench
bench: ## measure, and print the figures
	cargo bench --locked --bench '*'

# Under sudo there is often no cargo: then what `make build` made is installed. BUILT=… installs that program.
.PHONY: install
install: ## install fleetd, fleet, completions, man pages and, as root, the systemd unit (PREFIX=…)
ifneq ($(origin BUILT),command line)
	@if command -v cargo >/dev/null; then $(MAKE) --no-print-directory build; \
	elif [ ! -x '$(BUILT)' ]; then echo "install: there is no cargo here and no $(BUILT): run 'make build' first" >&2; exit 1; fi
endif
	install -d '$(BINDIR)' '$(DATADIR)/man/man1' $(foreach file,BASH ZSH FISH,'$(dir $($(file)_COMPLETIONS))')
	install -m 755 '$(BUILT)' '$(BINDIR)/fleetd'
	ln -sf fleetd '$(BINDIR)/fleet'
	'$(BINDIR)/fleet' man '$(DATADIR)/man/man1'
	'$(BINDIR)/fleet' completions bash > '$(BASH_COMPLETIONS)'
	'$(BINDIR)/fleet' completions zsh > '$(ZSH_COMPLETIONS)'
	'$(BINDIR)/fleet' completions fish > '$(FISH_COMPLETIONS)'
ifneq ($(UNITDIR),)
	install -d '$(UNITDIR)'
	sed 's|/usr/local/bin/fleetd|$(BINDIR)/fleetd|' systemd/fleetd.service > '$(UNITDIR)/fleetd.service'
	@echo "The unit is installed, not enabled. Once /etc/fleet/agents.yaml and the user fleet are there (README.md):"
	@echo "  systemctl daemon-reload && systemctl enable --now fleetd"
endif

.PHONY: uninstall
uninstall: ## remove what `make install` put there; agents.yaml, state and running sessions stay
	rm -f '$(BINDIR)/fleetd' '$(BINDIR)/fleet' '$(BASH_COMPLETIONS)' '$(ZSH_COMPLETIONS)' '$(FISH_COMPLETIONS)'
	rm -f '$(DATADIR)/man/man1/fleet.1' '$(DATADIR)'/man/man1/fleet-*.1
ifneq ($(UNITDIR),)
	rm -f '$(UNITDIR)/fleetd.service'
	@echo "If the service ran: systemctl disable --now fleetd; systemctl daemon-reload"
endif
