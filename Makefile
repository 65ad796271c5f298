# The two commands of the README, and what a change has to pass before it is shown to anybody.
# The dev profile on purpose: from a clean clone it is built in a fraction of the time of a release, and the demo's time is
# PostgreSQL's.

CARGO ?= cargo

.PHONY: demo test lint check many chaos laws

demo: ## The whole story on a throwaway PostgreSQL: forward, kill -9, a failure, isolation, and back
	$(CARGO) run --locked --quiet -- demo $(DEMO)

test: ## Every test; PostgreSQL is installed where it is missing, and one throwaway server started for the run
	$(CARGO) test --locked

# `cargo fmt` does not find the modules that the tables of step kinds and checks declare, so the files are named.
lint: ## Format and lints
	rustfmt --check --edition 2024 $$(git ls-files '*.rs')
	$(CARGO) clippy --locked --all-targets -- -D warnings

check: lint ## Format, lints and the quick tests
	$(CARGO) test --locked --lib --test bench --test engine --test model --test plans --test ranges --test readme --test tidy

many: ## A schema of 500 tables: init, validate, cycle, apply and isolation, with their times
	INIT_TABLES=$(or $(TABLES),500) $(CARGO) test --locked --test it init::generated -- --nocapture

chaos: ## Every point of a run by every fault: make chaos SEED=7 FAULTS=500, or one cell: make chaos SEED=7 CELL=17
	CHAOS_SEED=$(SEED) CHAOS_FAULTS=$(FAULTS) CHAOS_CELL=$(CELL) $(CARGO) test --locked --test it chaos:: -- --nocapture

# The servers are those of an npm package (initdb, postgres, contrib), since Debian has one major version; its links to
# libraries are files until they are made links.
MAJORS ?= 13 18
LAWS ?= laws::
laws: ## The laws of every step kind, at every seam, on other major versions of PostgreSQL: make laws MAJORS="13 14 16 17 18"
	npm ci --prefix tests/servers --ignore-scripts --no-audit --no-fund --loglevel error
	@set -e; for major in $(MAJORS); do \
	    (cd tests/servers/node_modules/pg$$major && node scripts/hydrate-symlinks.js); \
	    echo "== PostgreSQL $$major"; \
	    TENANTMIG_SEAMS=all TENANTMIG_TEST_PG_BINDIR="$(CURDIR)/tests/servers/node_modules/pg$$major/native/bin" $(CARGO) test --locked --test it $(LAWS); \
	done
