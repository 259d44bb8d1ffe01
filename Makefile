# What a newcomer types. Each target is one script or program; CONTRIBUTING.md tells what they do in detail.

.PHONY: help demo packages test test-more test-real chaos soak fuzz model bench lint deny clean-lab
.NOTPARALLEL:

# Where rustup puts itself, for shells that were opened before.
export PATH := $(PATH):$(HOME)/.cargo/bin

help: ## Show this.
	@sed --quiet 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand --tabs=20

demo: ## See a failover: two headnodes and a ZooKeeper ensemble on this machine, one loses power.
	@tests/prepare
	cargo build --release --workspace --bins
	@target/release/demo $(DEMO)

packages: ## Build deb and rpm for each role, with an SBOM, and check them: a minute after the programs.
	@tests/prepare --packaging
	cargo build --release --workspace --bins
	packaging/check

test: ## Set this machine up and run every test: at most 20 minutes.
	@tests/run-tests

test-more: ## The same with more seeds, a larger model and the long lab tests: at most 40 minutes on top.
	@tests/run-tests --more

test-real: ## Lab tests with Hadoop's and Livy's own servers, 170 MB that are downloaded once: some minutes on top.
	@tests/run-tests --real

chaos: ## Random faults on real hosts for MINUTES=10, with SEED=, PRESET=fast, ONLY=cut RUNS=50, CHAOS=--fence; a table at the end.
	@tests/prepare
	cargo build --release --workspace --bins
	target/release/chaos $(and $(MINUTES),--minutes $(MINUTES)) $(and $(SEED),--seed $(SEED)) \
		$(and $(PRESET),--preset $(PRESET)) $(and $(ONLY),--only $(ONLY)) $(and $(RUNS),--runs $(RUNS)) $(CHAOS)

soak: ## Simulate SEEDS=100000 clusters, from seed FROM=0 on: an hour on two processors.
	cargo build --profile soak --package headship-tests --bin sim
	target/soak/sim --keep-going --seeds $(or $(FROM),0)..$(shell expr $(or $(FROM),0) + $(or $(SEEDS),100000))

fuzz: ## Give every parser, and every daemon a quorum that lies: hostile input for MINUTES=10 each, an hour in all.
	HEADSHIP_FUZZ_MINUTES=$(or $(MINUTES),10) cargo test --release --package headship-tests --test hostile -- --nocapture
	HEADSHIP_FUZZ_MINUTES=$(or $(MINUTES),10) cargo test --release --package headship-tests --lib lying -- --nocapture

model: ## Explore the larger scopes of the model to their end: some hours, and much memory.
	cargo build --release --workspace --bins
	target/release/model --limit 36000

bench: ## Measure times and sizes in the lab; a table of medians, with the targets that are missed.
	@tests/prepare
	cargo build --release --workspace --bins
	target/release/bench $(BENCH)

lint: ## Check the formatting, and refuse every warning.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --test '*' -- --deny warnings

deny: ## Check the libraries' licences and sources, and that none is there twice.
	@command -v cargo-deny >/dev/null || \
		{ echo 'make deny: there is no cargo-deny: `cargo install cargo-deny --locked` brings it, in some minutes' >&2; exit 1; }
	cargo deny check bans licenses sources

clean-lab: ## End the demonstration and remove everything of it.
	@test -x target/release/lab || cargo build --release --workspace --bins
	target/release/lab down
