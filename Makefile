# Lanyard. `make` builds; `make help` lists the rest.
# SAN=address,undefined or SAN=thread builds everything into its own folder with that sanitizer.
CC      ?= gcc
BUILD   ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
PREFIX  ?= /usr/local
comma   := ,

# Avahi's client and core export one name with two meanings, so they are loaded at run time, apart from each other (discovery/backend.c).
# libdbus is loaded at run time, too, when there is something to tell the desktop (node/notify.c).
DBUS    := $(shell pkg-config --cflags dbus-1 2>/dev/null)
PKGS    := libzmq libsodium sqlite3 libzstd
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Werror
CFLAGS  ?= $(if $(SAN),-O1,-O2) -g
override CFLAGS += -std=gnu17 -D_GNU_SOURCE $(WARN) -I. $(DBUS) -fno-omit-frame-pointer \
           $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all)
override LDFLAGS += $(if $(SAN),-fsanitize=$(SAN))
LDLIBS   = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lmsgpackc -lavahi-common -ldl -lpthread -lm

PROTO   := $(wildcard proto/*.c)
STORE   := $(wildcard store/*.c)
DISC    := $(wildcard discovery/*.c)
NODE    := $(filter-out node/main.c,$(wildcard node/*.c))
CLI     := $(wildcard cli/*.c)
CLILIB   = $(call obj,$(filter-out cli/main.c,$(CLI)))
UNIT    := $(wildcard tests/unit/test_*.c)
SIM     := $(wildcard tests/sim/*.c)
FUZZ    := $(wildcard tests/fuzz/fuzz_*.c)
obj      = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB     := $(call obj,$(PROTO) $(STORE) $(DISC) $(NODE))

.PHONY: all clean deps demo test unit sim sim-build torture e2e lint fuzz coverage bench bench-quick install help
all: deps $(BUILD)/lanyard $(BUILD)/lanyardd

$(BUILD)/lanyardd: $(LIB) $(call obj,node/main.c)
	@echo "  LD    $@"; $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/lanyard: $(call obj,$(CLI) $(PROTO))
	@echo "  LD    $@"; $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
# The folders, too: a file that is new to them may have an object that is older than the library.
$(BUILD)/liblanyard.a: $(LIB) proto store discovery node
	@rm -f $@; ar rcs $@ $(LIB)
$(BUILD)/libcli.a: $(CLILIB) cli
	@rm -f $@; ar rcs $@ $(CLILIB)
$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(BUILD)/libcli.a $(BUILD)/liblanyard.a
	@echo "  LD    $@"; $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/tests/e2e/disc_probe: $(BUILD)/tests/e2e/disc_probe.o $(BUILD)/liblanyard.a
	@echo "  LD    $@"; $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/tests/e2e/liar: $(BUILD)/tests/e2e/liar.o $(call obj,$(wildcard tests/e2e/hostile/*.c)) $(BUILD)/liblanyard.a
	@echo "  LD    $@"; $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/tests/sim/sim: $(call obj,$(SIM)) $(BUILD)/liblanyard.a
	@echo "  LD    $@"; $(CC) $(CFLAGS) $(LDFLAGS) -Wl,--wrap=keys_sign,--wrap=keys_verify,--wrap=merge_context_edit,--wrap=engine_gone,--wrap=engine_doubt,--wrap=engine_write_again,--wrap=state_withdraw,--wrap=engine_notice_rollback,--wrap=author,--wrap=author_end,--wrap=engine_forget_old,--wrap=vec_find,--wrap=cut_allows,--wrap=engine_lock_look,--wrap=index_want_min,--wrap=index_entry_contested,--wrap=lock_shown -o $@ $^ $(LDLIBS)
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/driver.o $(BUILD)/liblanyard.a
	@echo "  LD    $@"; $(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/%.o: %.c
	@mkdir -p $(@D); echo "  CC    $@"; $(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.SECONDARY:

deps: ; @sh tests/deps build
clean: ; rm -rf build build-*
unit: $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT)) $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(FUZZ))
sim-build: $(BUILD)/tests/sim/sim
sim: sim-build ; $(BUILD)/tests/sim/sim --seeds $(or $(SEEDS),1000000)
torture: all ; @sh tests/deps test && tests/torture
test: ; @sh tests/deps test && tests/run
demo: all ; @sh tests/deps demo && tests/demo
bench: all ; @sh tests/deps bench && tests/bench/bench $(ROW)
bench-quick: all ; @sh tests/deps bench && tests/bench/bench --quick $(ROW)
lint: ; @sh tests/deps lint && tests/lint --tidy
fuzz: ; @sh tests/deps fuzz && tests/fuzz/run
coverage: ; @sh tests/deps test && tests/coverage
help:
	@echo "make           build lanyard and lanyardd into $(BUILD)/"
	@echo "make demo      three nodes, real files, everything end to end"
	@echo "make test      every test; the last line counts them"
	@echo "make sim       simulated schedules with all kinds of faults (SEEDS=1000000)"
	@echo "make torture   real nodes, crashes, cut links, random users, for hours (SEED= SECONDS=60 NODES= ROUNDS=)"
	@echo "make lint      include rule, function and file lengths, clang-tidy"
	@echo "make fuzz      coverage-guided fuzzing of every decoder (SECONDS_EACH=60)"
	@echo "make coverage  which lines of proto, store and the engine the tests run (at least 90 % each)"
	@echo "make bench     the speed figures, beside Syncthing and rsync, into docs/BENCHMARKS.md (ROW=insert for one: tests/bench/bench --list)"
	@echo "make bench-quick  the same with little data in three minutes, into no document"
	@echo "make install   into DESTDIR, PREFIX=$(PREFIX)"
install: all
	install -Dm755 -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/lanyard $(BUILD)/lanyardd
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man1 docs/lanyard.1
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man8 docs/lanyardd.8
