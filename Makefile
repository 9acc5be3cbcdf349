# SPDX-License-Identifier: Apache-2.0
# make demo: set up, build, run the whole loop on the bundled model.  make test: set up, then every test.

.PHONY: all build native test demo bench docs lint cuda setup install clean sanitize

all: build

setup:
	@scripts/setup.sh

build: setup
	node scripts/build.mjs
	scripts/build-native.sh --no-tests

# Includes the native tests, which `make test` runs.
native:
	scripts/build-native.sh

# Both backends in one addon. Needs nvcc, or CUDACXX=/path/to/nvcc, and cuBLASLt: the toolkit's, pip's nvidia-cublas, or CUBLAS=DIR.
cuda: setup
	scripts/build-native.sh --cuda $(if $(CUBLAS),-DVPREF_CUBLAS=$(CUBLAS))

test:
	@scripts/test.sh

# The native tests and the loader's fuzz under the sanitizers; ROUNDS=N: more rounds.
sanitize: setup
	scripts/sanitize.sh $(ROUNDS)

demo: build
	@examples/demo.sh

bench: build
	@for bench in annotate augment eval judging ndjson recipes startup; do echo "== $$bench"; node --import tsx bench/$$bench.ts || exit 1; done

docs: setup
	node scripts/build.mjs
	scripts/docs.sh

lint: setup
	node_modules/.bin/tsc -p .
	node_modules/.bin/biome check .
	node --import tsx scripts/check-mirror.ts
	node --import tsx scripts/check-imports.ts
	node --import tsx scripts/check-parameters.ts
	scripts/format-native.sh --check

# Installs vpref, its man pages and completions below $(PREFIX); vpref runs from this checkout. `npm pack` makes a package without it.
PREFIX ?= /usr/local
install: build
	npm install --global --prefix "$(PREFIX)" .
	install -D -m 644 completions/vpref.bash "$(PREFIX)/share/bash-completion/completions/vpref"
	install -D -m 644 completions/_vpref "$(PREFIX)/share/zsh/site-functions/_vpref"
	install -D -m 644 completions/vpref.fish "$(PREFIX)/share/fish/vendor_completions.d/vpref.fish"

clean:
	rm -rf dist build oclif.manifest.json demo-out
