# The front door. CMake builds (CMakePresets.json); this names the things people do.
#
#   make               build build/release/cli/isomoe
#   make demo          the main job on the default corpus, from a fresh Debian 12 to the report
#   make test          all tests; the last line counts them
#   make check         what CI runs besides: format-check, lint, clang, asan, tsan
#   make prove-PART    one claim at full size (tools/prove_PART.sh); goes on where it was stopped
#   make format        clang-format in place
#
# Every target first installs the Debian packages that it needs and that are missing.

MAKEFLAGS += --no-print-directory
WERROR ?= OFF

# The tests in which several threads run.
TSAN_TESTS ?= threads|invariants|chain

# Dozens of trainings one after the other: minutes under ASan, and each of their steps is in other tests.
# `make asan ASAN_LEAVES_OUT=none` runs them, too.
ASAN_LEAVES_OUT ?= system_compare|system_kills|system_study_(run|method|report)

.PHONY: build demo test check format format-check lint clang asan tsan fuzz clean FORCE

build:
	@tools/setup.sh build
	@cmake --preset release >/dev/null
	@cmake --build --preset release

demo: build
	@tools/demo.sh

test:
	@tools/setup.sh build test
	@cmake --preset release -DISO_TESTS=ON -DISO_WERROR=$(WERROR) >/dev/null
	@cmake --build --preset release
	@tests/run_all.sh build/release

check: format-check lint clang asan tsan

format-check:
	@tools/setup.sh lint
	@tools/format.sh --check

format:
	@tools/setup.sh lint
	@tools/format.sh

lint:
	@tools/setup.sh lint
	@tools/check_layers.py
	@tools/cppcheck.sh

asan tsan:
	@tools/setup.sh build test
	@cmake --preset $@ >/dev/null
	@cmake --build --preset $@
	@tests/run_all.sh build/$@ $(if $(filter tsan,$@),-R '$(TSAN_TESTS)',-E '$(ASAN_LEAVES_OUT)')

# Everything compiles without a warning (clang), every fuzz target with libFuzzer (fuzz).
clang fuzz:
	@tools/setup.sh build test lint
	@cmake --preset $@ >/dev/null
	@cmake --build --preset $@

prove-%: build FORCE
	@test -x tools/prove_$(subst -,_,$*).sh || { echo "no such proof; there are:" tools/prove_*.sh >&2; exit 2; }
	@tools/prove_$(subst -,_,$*).sh

clean:
	@rm -rf build
