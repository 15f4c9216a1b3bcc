# The commands: `make run` boots a machine that tells a story, `make chat` one to talk to (`make
# chat-here` without a machine), `make test` tests and boots it, `CI=true make test` runs all tests.
# All else is in xtask: `cargo xtask --help`.

CARGO := $(shell sh xtask/bootstrap.sh --which)
XTASK  = $(CARGO) xtask

.PHONY: run chat chat-here test build image dist fmt clippy llama2.efi llama2-disk test-llama2 bootstrap

run: bootstrap
	@$(XTASK) run

chat: bootstrap
	@$(XTASK) run --chat

chat-here: bootstrap
	@LLAMA2_MODELS="$${LLAMA2_MODELS:-models/fetched}" $(CARGO) run --quiet --release --package llama2-cli -- chat --get

test: bootstrap
	@$(XTASK) test

build llama2.efi: bootstrap
	@$(XTASK) build

image llama2-disk: bootstrap
	@$(XTASK) image -o llama2-disk.img

dist: bootstrap
	@$(XTASK) dist

# The original project's name for a headless boot.
test-llama2: bootstrap
	@$(XTASK) run --headless

fmt:
	@$(CARGO) fmt --all

clippy:
	@$(XTASK) test lints

# A compiler and a linker for the host, without which not even xtask can be built.
bootstrap:
	@sh xtask/bootstrap.sh
