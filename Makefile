# SPDX-License-Identifier: Apache-2.0
# Kairan: one non-recursive Makefile. `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
CC ?= gcc
PKG_CONFIG ?= pkg-config
KIND ?= release
V ?= 0

VERSION := 0.1.0
PACKAGES := libpq hiredis openssl jansson libcurl libuv libmicrohttpd inih libidn2 libcares libseccomp

B := build/$(KIND)
Q := $(if $(filter 0,$(V)),@,)
comma := ,
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
	-DKAIRAN_SANITIZED -DKAIRAN_CRASH_POINTS
LINK_OPT := -fsanitize=address,undefined
else ifeq ($(KIND),cov)
OPT := -O0 -g --coverage -fprofile-update=atomic -DKAIRAN_COVERAGE
LINK_OPT := --coverage
COV_EXIT := $(B)/tests/support/cov_exit.o
COV_EXIT_OPT := -Wl,--wrap=_exit
else ifeq ($(KIND),crash)
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -DKAIRAN_CRASH_POINTS
LINK_OPT :=
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
	-I$(B)/gen $(addprefix -I,$(common_FOLDERS)) $(pkg_cflags) $(CFLAGS)
# libunistring has no file for pkg-config
LIBS = $(pkg_libs) -lunistring -lpthread -lm

PROGRAM_DIRS := cli producer dispatcher feedback
DIRS := common $(PROGRAM_DIRS)
cli_PROGRAM := kairan
producer_PROGRAM := kairan-producer
dispatcher_PROGRAM := kairan-dispatcher
feedback_PROGRAM := kairan-feedback
PROGRAMS := $(foreach d,$(PROGRAM_DIRS),bin/$($(d)_PROGRAM))

# a folder holds files and folders of files; every one is an include path of its own program
define folders
$(1)_FOLDERS := $(1) $$(patsubst %/,%,$$(sort $$(dir $$(wildcard $(1)/*/*.h))))
endef
$(foreach d,$(DIRS),$(eval $(call folders,$(d))))
PROGRAM_FOLDERS := $(foreach d,$(PROGRAM_DIRS),$($(d)_FOLDERS))
FOLDERS := $(common_FOLDERS) $(PROGRAM_FOLDERS)

EMBEDDED := $(sort $(wildcard schema/*.sql)) \
	$(sort $(foreach d,$(DIRS),$(wildcard $(d)/sql/*.sql $(d)/lua/*.lua $(d)/data/*)))

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ_SOURCES := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_REPLAYS := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(FUZZ_SOURCES))
BENCHES := $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/bench_*.c))
SUPPORT_PROGRAMS := $(B)/tests/support/compose_many $(B)/tests/support/read_gmime
FORMATTED = $(wildcard $(foreach d,$(FOLDERS) tools tests/unit tests/fuzz tests/bench tests/sim tests/support,$(d)/*.c $(d)/*.h))
SCRIPTS = $(wildcard tools/*.sh tools/compose/*.sh tools/compose/standin/*/*.sh tests/*.sh tests/crash/*.sh tests/integration/*.sh tests/support/*.sh tests/bench/*.sh) .ci/run

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all
all: $(PROGRAMS)

define library
$(1)_SOURCES := $$(filter-out $(1)/main.c,$$(wildcard $(1)/*.c $(1)/*/*.c))
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
$(B)/$($(1)_PROGRAM): $(B)/$(1)/main.o $(COV_EXIT) $(B)/lib$(1).a $(B)/libcommon.a
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(LINK_OPT) $$(COV_EXIT_OPT) $$(LINK_HARDEN) $$(LDFLAGS) -o $$@ $$^ $$(LIBS)
bin/$($(1)_PROGRAM): $(B)/$($(1)_PROGRAM)
	$$(Q)mkdir -p bin && cp -f $$< $$@.new && mv -f $$@.new $$@
endef
$(foreach d,$(PROGRAM_DIRS),$(eval $(call program,$(d))))

# Generated code first: its header is included by name.
$(B)/%.o: %.c | $(B)/gen/embed.h
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(addprefix -I,$($(firstword $(subst /, ,$<))_FOLDERS)) -MMD -MP -c -o $@ $<

$(B)/gen/embed.o: $(B)/gen/embed.c
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/gen/embed.c $(B)/gen/embed.h &: $(B)/tools/embed $(EMBEDDED)
	$(call say,EMBED,$(words $(EMBEDDED)) files)
	$(Q)mkdir -p $(B)/gen && $(B)/tools/embed $(B)/gen/embed.c $(B)/gen/embed.h $(EMBEDDED)

$(B)/tools/embed: tools/embed.c
	$(Q)mkdir -p $(@D) && $(CC) -std=c17 -O1 -o $@ $<

# Names that tests/support/failing.h takes, so that the n-th call of them fails.
FAILING_WRAPPED := malloc calloc realloc strdup open64 read fstat64 stat64 fstatfs64 flock rename posix_fallocate64 mmap64 \
	fopen64 RAND_bytes EVP_MD_fetch EVP_MD_CTX_new EVP_PKEY_CTX_new EVP_PKEY_verify_init EVP_PKEY_CTX_set_rsa_padding \
	EVP_PKEY_CTX_set_signature_md EVP_DigestInit_ex2 EVP_DigestUpdate EVP_DigestFinal_ex EVP_PKEY_verify \
	X509_STORE_new X509_STORE_load_file X509_STORE_set_default_paths X509_STORE_set_flags X509_STORE_CTX_new X509_STORE_CTX_init OPENSSL_sk_new_null \
	OPENSSL_sk_push BIO_new_mem_buf u8_normalize
$(B)/tests/unit/test_failing: WRAPPED := $(FAILING_WRAPPED)
$(B)/tests/unit/test_settle: WRAPPED := $(FAILING_WRAPPED) pgloop_submit journal_settled abort
$(B)/tests/unit/test_scarce: WRAPPED := $(FAILING_WRAPPED)
$(B)/tests/unit/test_claim: WRAPPED := $(FAILING_WRAPPED) pgloop_is_ready rdsloop_is_ready rdsloop_command route_is_held settle_is_behind \
	settle_release runs_first pipeline_is_wanted pipeline_start
$(B)/tests/unit/test_recover: WRAPPED := $(FAILING_WRAPPED) db_query db_run rds_open redisCommandArgv redisFree journal_find journal_evidence \
	journal_is_whole journal_sync
$(B)/tests/unit/test_sns_fetch: WRAPPED := curl_easy_setopt curl_easy_init

# A unit test links every program's modules, never a main.c.
$(B)/tests/unit/%: tests/unit/%.c $(LIBRARIES)
	$(call say,TEST,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -I. $(addprefix -I,$(PROGRAM_FOLDERS)) -Itests/support $(shell $(PKG_CONFIG) --cflags cmocka) \
		-MMD -MP $(LINK_OPT) $(LINK_HARDEN) $(addprefix -Wl$(comma)--wrap=,$(WRAPPED)) -o $@ $< \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS) -lcmocka

# Fuzz targets; here linked with a replayer, by `make fuzz` with libFuzzer.
$(B)/tests/fuzz/%: tests/fuzz/%.c tests/support/fuzz_replay.c $(LIBRARIES)
	$(call say,FUZZ,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -I. $(addprefix -I,$(PROGRAM_FOLDERS)) -MMD -MP $(LINK_OPT) -o $@ $< tests/support/fuzz_replay.c \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS)

# GMime is the yardstick of one bench and reads mails back in a test; no program uses it.
gmime_cflags = $(shell $(PKG_CONFIG) --cflags gmime-3.0 | sed 's/-I/-isystem /g')
gmime_libs = -Wl,--as-needed $(shell $(PKG_CONFIG) --libs gmime-3.0)
$(B)/tests/bench/%: tests/bench/%.c $(LIBRARIES)
	$(call say,BENCH,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -I. $(addprefix -I,$(PROGRAM_FOLDERS)) -Itests/support \
		$(gmime_cflags) -MMD -MP $(LINK_OPT) -o $@ $< \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS) $(gmime_libs)

# Programs that integration tests and benches use.
$(B)/tests/support/%: tests/support/%.c $(LIBRARIES)
	$(call say,SUPPORT,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) -I. $(addprefix -I,$(PROGRAM_FOLDERS)) $(gmime_cflags) -MMD -MP $(LINK_OPT) -o $@ $< \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS) $(gmime_libs)

# The simulation of the sending protocol: the dispatcher's own objects, main() under another name, over
# tests/sim. Names of libuv and of the connections are taken first; the others are wrapped.
SIM_SOURCES := $(wildcard tests/sim/sim_*.c)
SIM_OBJECTS := $(SIM_SOURCES:%.c=$(B)/%.o) $(B)/tests/sim/dispatcher_main.o
# It dies at crash points in every build but that for coverage: sources that have some are compiled for it once
# more where the programs have none, and stand before the archives.
ifneq ($(KIND),cov)
SIM_POINTS := -UKAIRAN_CRASH_POINTS -DKAIRAN_CRASH_POINTS
endif
ifeq ($(KIND),release)
SIM_POINTED := $(shell grep -l 'CRASH_POINT."' $(dispatcher_SOURCES))
SIM_OBJECTS += $(SIM_POINTED:%.c=$(B)/tests/sim/pointed/%.o)
endif
SIM_WRAPPED := malloc calloc realloc free strdup open64 close mmap64 munmap msync time clock_gettime sleep \
	arc4random arc4random_uniform RAND_bytes exit _exit sigaction contain_begin contain_process crash_point \
	curl_global_init curl_global_cleanup journal_open PQclear db_open db_close db_check_schema db_query db_run \
	rds_open redisCommandArgv redisFree freeReplyObject
SIM_PROGRAMS := $(B)/tests/sim/sim_protocol $(B)/tests/sim/pg_differential
sim_flags = $(ALL_CFLAGS) $(SIM_POINTS) -I. $(addprefix -I,$(PROGRAM_FOLDERS)) -Itests/sim -MMD -MP
$(B)/tests/sim/dispatcher_main.o: dispatcher/main.c | $(B)/gen/embed.h
	$(Q)mkdir -p $(@D) && $(CC) $(sim_flags) -Wno-missing-prototypes -Dmain=dispatcher_main -c -o $@ $<
$(B)/tests/sim/pointed/%.o: %.c | $(B)/gen/embed.h
	$(call say,SIM,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(sim_flags) -c -o $@ $<
$(B)/tests/sim/sim_%.o: tests/sim/sim_%.c | $(B)/gen/embed.h
	$(call say,SIM,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(sim_flags) -c -o $@ $<
$(B)/tests/sim/sim_protocol: $(SIM_OBJECTS) $(LIBRARIES)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK_OPT) $(LINK_HARDEN) $(addprefix -Wl$(comma)--wrap=,$(SIM_WRAPPED)) -o $@ $(SIM_OBJECTS) \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS)

# Its database against a real one; nothing is wrapped there.
$(B)/tests/sim/pg_differential: tests/sim/pg_differential.c $(B)/tests/sim/sim_pg.o $(LIBRARIES)
	$(call say,SIM,$<)
	$(Q)$(CC) $(sim_flags) $(LINK_OPT) $(LINK_HARDEN) -o $@ $< $(B)/tests/sim/sim_pg.o \
		-Wl,--start-group $(LIBRARIES) -Wl,--end-group $(LIBS)

.PHONY: unit-tests programs-here
unit-tests: $(UNIT_TESTS) $(FUZZ_REPLAYS) $(SUPPORT_PROGRAMS) $(SIM_PROGRAMS)
programs-here: $(foreach d,$(PROGRAM_DIRS),$(B)/$($(d)_PROGRAM))

.PHONY: check-format
check-format:
	@tools/check-format.sh $(FORMATTED)

.PHONY: format
format:
	clang-format -i $(FORMATTED)

-include $(wildcard $(B)/*/*.d $(B)/*/*/*.d $(B)/tests/sim/pointed/*/*.d $(B)/tests/sim/pointed/*/*/*.d)

# ---------------------------------------------------------------- what people type
.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z][a-z_-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile
	@echo "  KIND=san builds with ASan and UBSan, V=1 shows commands, PREFIX and DESTDIR serve install"

.PHONY: build
build: ## the four programs in bin/
	@tools/deps.sh build
	@$(MAKE) --no-print-directory all

.PHONY: demo demo-down
demo: ## the whole day on real parts, about two minutes (KEEP=1 leaves it up)
	@tools/demo.sh
demo-down: ## ends what `make demo KEEP=1` left up
	@tools/demo.sh down

.PHONY: test
test: ## everything that must be green: format, warnings, units, integration, under sanitizers
	@tools/deps.sh build services test
	@tests/run.sh

.PHONY: check
check: check-format check-providers check-docs check-promises check-units ## format, provider table, manual, promises, units: without services

.PHONY: crash-loop crash-points
crash-loop: ## kills -9 at random (KILLS=20) against the relay's ground truth; one JSON line last
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=crash programs-here
	@KAIRAN_BIN=build/crash tests/crash/loop.sh
crash-points: ## death at each named point (EACH=25, PAIRS=all, POINTS="a b", ROUTE=ses, JOBS=2); one JSON line last
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=crash programs-here
	@KAIRAN_BIN=build/crash tests/crash/points.sh

.PHONY: soak kill-rate chaos chaos-ses-outage
soak: ## one fault a minute at half of the peak (MINUTES=5): invariants, growth, recovery; one JSON line last
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=crash programs-here
	@KAIRAN_BIN=build/crash tests/crash/soak.sh
kill-rate: ## the rate calm and under one kill every 10 s (MINUTES=2 each), for a quiet machine; one JSON line last
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=crash programs-here
	@KAIRAN_BIN=build/crash tests/crash/kill_rate.sh
chaos: ## the long form of the fault tests: proxies, a disk that fails, memory that ends
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=crash programs-here
	@FULL=1 KAIRAN_BIN=build/crash prove --timer --exec bash tests/integration/chaos_*.sh
chaos-ses-outage: ## the endpoint of Amazon SES (a FAKE) is away for OUTAGE_S=600 seconds in the middle of a run
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=crash programs-here
	@OUTAGE_S=$(or $(OUTAGE_S),600) KAIRAN_BIN=build/crash bash tests/integration/chaos_ses.sh
.PHONY: check-messages
check-messages: $(B)/tests/support/compose_many $(B)/tests/support/read_gmime ## 10,000 messages for hostile recipients read back by Python and GMime
	@KAIRAN_BIN=$(B) RECIPIENTS=$(or $(RECIPIENTS),10000) bash tests/integration/message_bulk.sh

.PHONY: flood
flood: ## memory and true notifications under forged posts and slow connections, one JSON line
	@tools/deps.sh build services bench
	@$(MAKE) --no-print-directory all build/release/tests/support/flood
	@tests/bench/flood.sh

.PHONY: check-replay-twice
check-replay-twice: ## an archive of EVENTS=1000000 events replayed twice gives the same tables
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory all
	@EVENTS=$${EVENTS:-1000000} KAIRAN_BIN=bin bash tests/integration/replay_twice.sh

.PHONY: sim-protocol sim-mutants
sim-protocol: ## the protocol in a simulated world: SEEDS=2000 runs (FIRST=1), or SEED=n with its events; one JSON line last
	@$(MAKE) --no-print-directory KIND=crash build/crash/tests/sim/sim_protocol
	@build/crash/tests/sim/sim_protocol $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000) --first $(or $(FIRST),1) 2>/dev/null)
# what the simulation notices by itself, of what `make mutants` has a test for anyway
SIM_MUTANTS := no-mark mark-after-the-dot mark-refusal-ignored doubt-as-answer ok-as-no no-as-ok success-erases \
	slot-used-too-early unknown-claim-dropped unknown-claim-not-fenced crash-sends-again heard-without-claims
sim-mutants: ## sees that the simulation notices mistakes in the protocol (MUTANTS="a b")
	@$(MAKE) --no-print-directory KIND=crash programs-here build/crash/tests/sim/sim_protocol
	@KIND=crash CC='$(CC)' tests/mutants.py $(if $(JOBS),--jobs $(JOBS)) --test sim/sim_protocol $(or $(MUTANTS),$(SIM_MUTANTS))

.PHONY: mutants
mutants: ## breaks the protocol in each way of tests/mutants/ and sees that a test notices (MUTANTS="a b", JOBS=2)
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=san programs-here
	@CC='$(CC)' tests/mutants.py $(if $(JOBS),--jobs $(JOBS)) $(MUTANTS)

.PHONY: bench
bench: ## figures as JSON lines, each with its yardstick from the same run
	@tools/deps.sh build services bench
	@$(MAKE) --no-print-directory all $(BENCHES)
	@tests/bench/run.sh

.PHONY: bench-full
bench-full: ## growth: whole jobs of ROWS="10000 100000 1000000" recipients, memory and CPU per message of each
	@tools/deps.sh build services bench
	@$(MAKE) --no-print-directory all
	@tests/bench/growth.sh $(ROWS)

.PHONY: pace-real
pace-real: ## RECIPIENTS=60000 at RATE=500 a second by three dispatchers, one killed, as the sink sees it
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=release programs-here build/release/tests/support/stamp_sink
	@KAIRAN_BIN=build/release tests/bench/pace_real.sh $(or $(RECIPIENTS),60000) $(or $(RATE),500)

.PHONY: coverage
coverage: ## lines and branches that the tests reach, status 1 below the aims (INTEGRATION="a b": those only; none: ""; JOBS=2 at a time; ADD=1: to what was run before)
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory KIND=cov programs-here unit-tests
	@tools/coverage.sh

.PHONY: check-hardening
check-hardening: all ## what the loader and the kernel see of the release binaries
	@tools/check-hardening.sh $(PROGRAMS)

.PHONY: check-promises
check-promises: ## every promise and every attack has a test that exists, or a reason
	@tools/check-promises.sh

.PHONY: check-units
check-units: ## what the systemd units leave open: exposure of each at most 1.5
	@tools/check-units.sh

.PHONY: sim
sim: ## the full scenarios of even sending: rehearsals of 360,000, 10 million in 500,000 domains, 10^8, 1,000,000 random calls
	@$(MAKE) --no-print-directory all $(B)/tests/unit/test_admission
	@KAIRAN_ADMISSION_CALLS=1000000 $(B)/tests/unit/test_admission
	@FULL=1 bash tests/integration/simulate.sh

.PHONY: check-providers
check-providers: $(B)/kairan ## every row of the provider table
	@$(B)/kairan provider check

.PHONY: fuzz
fuzz: ## each parser of foreign bytes under libFuzzer (SECONDS=60 each)
	@tools/deps.sh build fuzz
	@$(if $(SECONDS),SECONDS_EACH=$(SECONDS)) tools/fuzz.sh

.PHONY: check-compose
check-compose: ## docker-compose.yml with Debian's engine and stand-ins of the official images
	@tools/check-compose.sh

.PHONY: check-exim
check-exim: ## a campaign through a real Exim, fetched and unpacked for it (Postfix stays), bounces included
	@tools/deps.sh build services test
	@$(MAKE) --no-print-directory all
	@tools/check-exim.sh

.PHONY: check-pages
check-pages: $(B)/tests/support/page_samples ## pictures of the pages for recipients, by Chromium
	@tools/deps.sh build pages
	@tools/check-pages.sh $<

.PHONY: check-headers
check-headers: $(B)/gen/embed.h ## every header compiles alone
	@for h in $(foreach d,$(FOLDERS),$(wildcard $(d)/*.h)); do \
		$(CC) $(ALL_CFLAGS) $(addprefix -I,$(PROGRAM_FOLDERS)) -fsyntax-only -x c $$h || exit 1; done; echo "headers stand alone"

.PHONY: check-scripts
check-scripts: ## shellcheck
	@shellcheck -x -S warning $(SCRIPTS) && echo "scripts are clean"

.PHONY: check-docs
check-docs: ## every configuration key and command has its place in the manual, every fault its test
	@tools/check-docs.sh
	@tools/check-faults.sh

.PHONY: check-corpus
check-corpus: $(B)/$(feedback_PROGRAM) ## scores the bounce classifier on mails beside the checkout (KAIRAN_CORPUS)
	@tests/corpus.py --program $<

.PHONY: check-classify-mutations
check-classify-mutations: $(B)/$(feedback_PROGRAM) ## golden notices and mails beside the checkout, bent without a change of meaning
	@tests/golden.py --program $< --bend --corpus

.PHONY: check-length
check-length: ## the ten longest functions
	@ctags -x --c-kinds=f --fields=+e --_xformat='%F:%n:%e:%N' $(foreach d,$(FOLDERS),$(wildcard $(d)/*.c)) | \
		awk -F: '{ print $$3 - $$2 + 1, $$1 ":" $$4 }' | sort -rn | head -10

.PHONY: install
install: all ## programs, manual pages and examples under $(DESTDIR)$(PREFIX)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1' \
		'$(DESTDIR)$(PREFIX)/share/man/man5' '$(DESTDIR)$(PREFIX)/share/man/man8' \
		'$(DESTDIR)$(PREFIX)/share/doc/kairan/examples' '$(DESTDIR)$(PREFIX)/share/doc/kairan/prometheus' \
		'$(DESTDIR)$(PREFIX)/share/doc/kairan/grafana'
	install -m 755 $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin/'
	for n in 1 5 8; do for page in man/*.$$n; do \
		[ ! -e "$$page" ] || install -m 644 "$$page" '$(DESTDIR)$(PREFIX)/share/man/man'$$n/; done; done
	install -d '$(DESTDIR)$(PREFIX)/lib/systemd/system' '$(DESTDIR)$(PREFIX)/lib/sysusers.d' '$(DESTDIR)$(PREFIX)/lib/tmpfiles.d'
	for unit in tools/systemd/*.service; do \
		sed 's|@bindir@|$(PREFIX)/bin|' "$$unit" >'$(DESTDIR)$(PREFIX)/lib/systemd/system/'"$${unit##*/}" || exit 1; \
		chmod 644 '$(DESTDIR)$(PREFIX)/lib/systemd/system/'"$${unit##*/}"; done
	install -m 644 tools/systemd/kairan.sysusers '$(DESTDIR)$(PREFIX)/lib/sysusers.d/kairan.conf'
	install -m 644 tools/systemd/kairan.tmpfiles '$(DESTDIR)$(PREFIX)/lib/tmpfiles.d/kairan.conf'
	install -m 644 README.md CHANGES.md docs/*.md '$(DESTDIR)$(PREFIX)/share/doc/kairan/'
	install -m 644 docs/examples/* '$(DESTDIR)$(PREFIX)/share/doc/kairan/examples/'
	install -m 644 docs/prometheus/* '$(DESTDIR)$(PREFIX)/share/doc/kairan/prometheus/'
	install -m 644 docs/grafana/* '$(DESTDIR)$(PREFIX)/share/doc/kairan/grafana/'

.PHONY: clean
clean: ## forget what was built
	rm -rf build bin
