# SPDX-License-Identifier: Apache-2.0
# Kairan: one non-recursive Makefile. `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
CC ?= gcc
PKG_CONFIG ?= pkg-config
KIND ?= release
V ?= 0

VERSION := 0.1.0
PACKAGES := libpq hiredis openssl jansson libcurl libuv libmicrohttpd inih gmime-3.0 libidn2

B := build/$(KIND)
Q := $(if $(filter 0,$(V)),@,)
say = $(if $(filter 0,$(V)),@printf '%-8s %s\n' '$(1)' '$(2)')

WARNINGS := -Wall -Wextra -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Wundef -Wvla -Wswitch-enum -Wimplicit-fallthrough \
	-Wconversion -Wnull-dereference
# asked only when something is compiled, so that `make help` and `make deps` need no compiler
ifeq ($(filter help deps clean,$(MAKECMDGOALS)),)
is_gcc := $(shell $(CC) --version 2>/dev/null | grep -qi 'free software foundation' && echo yes)
pkg_cflags := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null | sed 's/-I/-isystem /g')
pkg_libs := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null)
endif
ifeq ($(is_gcc),yes)
WARNINGS += -Wlogical-op -Wduplicated-cond -Wjump-misses-init
HARDEN_CC := -ftrivial-auto-var-init=zero
endif
ifneq ($(filter x86_64 amd64,$(shell uname -m)),)
HARDEN_CC += -fcf-protection=full
endif

HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE -fno-common \
	-fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing $(HARDEN_CC)
LINK_HARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed

ifeq ($(KIND),san)
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	-DKAIRAN_SANITIZED
LINK_OPT := -fsanitize=address,undefined
else
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
LINK_OPT :=
endif
ifneq ($(WERROR),)
WARNINGS += -Werror
endif

CFLAGS ?=
LDFLAGS ?=
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE $(OPT) $(HARDEN) $(WARNINGS) -DKAIRAN_VERSION='"$(VERSION)"' \
	-I$(B)/gen -Icommon -Idispatcher -Ifeedback $(pkg_cflags) $(CFLAGS)
LIBS = $(pkg_libs) -lpthread

PROGRAM_DIRS := cli producer dispatcher feedback
DIRS := common $(PROGRAM_DIRS)
cli_PROGRAM := kairan
producer_PROGRAM := kairan-producer
dispatcher_PROGRAM := kairan-dispatcher
feedback_PROGRAM := kairan-feedback
PROGRAMS := $(foreach d,$(PROGRAM_DIRS),bin/$($(d)_PROGRAM))

EMBEDDED := $(sort $(wildcard schema/*.sql)) \
	$(sort $(foreach d,$(DIRS),$(wildcard $(d)/sql/*.sql $(d)/lua/*.lua $(d)/data/*)))

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_REPLAYS := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(FUZZ_SOURCES))
BENCHES := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/bench_*.c))
SUPPORT_SOURCES := $(wildcard tests/support/*.c)
FORMATTED = $(wildcard $(foreach d,$(DIRS) tools tests/unit tests/fuzz tests/bench tests/support,$(d)/*.c $(d)/*.h))
SCRIPTS = $(wildcard tools/*.sh tests/*.sh tests/integration/*.sh tests/support/*.sh tests/bench/*.sh) .ci/run

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all
all: $(PROGRAMS)

define library
$(1)_SOURCES := $$(filter-out $(1)/main.c,$$(wildcard $(1)/*.c))
$(1)_OBJECTS := $$($(1)_SOURCES:%.c=$$(B)/%.o)
endef
$(foreach d,$(DIRS),$(eval $(call library,$(d))))
common_OBJECTS += $(B)/gen/embed.o

LIBRARIES := $(foreach d,$(PROGRAM_DIRS) common,$(B)/lib$(d).a)

define archive
$(B)/lib$(1).a: $$($(1)_OBJECTS)
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach d,$(DIRS),$(eval $(call archive,$(d))))

define program
$(B)/$($(1)_PROGRAM): $(B)/$(1)/main.o $(B)/lib$(1).a $(B)/libcommon.a
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(LINK_OPT) $$(LINK_HARDEN) $$(LDFLAGS) -o $$@ $$^ $$(LIBS)
bin/$($(1)_PROGRAM): $(B)/$($(1)_PROGRAM)
	$$(Q)mkdir -p bin && cp -f $$< $$@.new && mv -f $$@.new $$@
endef
$(foreach d,$(PROGRAM_DIRS),$(eval $(call program,$(d))))

# Generated code first: its header is included by name.
$(B)/%.o: %.c | $(B)/gen/embed.h
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/gen/embed.o: $(B)/gen/embed.c
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/gen/embed.c $(B)/gen/embed.h &: $(B)/tools/embed $(EMBEDDED)
	$(call say,EMBED,$(words $(EMBEDDED)) files)
	$(Q)mkdir -p $(B)/gen && $(B)/tools/embed $(B)/gen/embed.c $(B)/gen/embed.h $(EMBEDDED)

$(B)/tools/embed: tools/embed.c
	$(Q)mkdir -p $(@D) && $(CC) -std=c17 -O1 -o $@ $<

# A unit test links every program's modules, never a main.c.
$(B)/tests/unit/%: tests/unit/%.c $(LIBRARIES)
	$(call say,TEST,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -I. -Itests/support $(shell $(PKG_CONFIG) --cflags cmocka) \
		-MMD -MP $(LINK_OPT) $(LINK_HARDEN) -o $@ $< \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS) -lcmocka

# Fuzz targets; here linked with a replayer, by `make fuzz` with libFuzzer.
$(B)/tests/fuzz/%: tests/fuzz/%.c tests/support/fuzz_replay.c $(LIBRARIES)
	$(call say,FUZZ,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -I. -MMD -MP $(LINK_OPT) -o $@ $< tests/support/fuzz_replay.c \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS)

$(B)/tests/bench/%: tests/bench/%.c $(LIBRARIES)
	$(call say,BENCH,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -I. -MMD -MP $(LINK_OPT) -o $@ $< \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS)

.PHONY: unit-tests programs-here
unit-tests: $(UNIT_TESTS) $(FUZZ_REPLAYS)
programs-here: $(foreach d,$(PROGRAM_DIRS),$(B)/$($(d)_PROGRAM))

.PHONY: check-format
check-format:
	@tools/check-format.sh $(FORMATTED)

.PHONY: format
format:
	clang-format -i $(FORMATTED)

-include $(wildcard $(B)/*/*.d $(B)/tests/*/*.d)
