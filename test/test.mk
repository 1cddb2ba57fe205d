# Host unit tests and fuzzers. The first lines of each file name the sources to link with it: /* SOURCES: a.c b.c @llhttp */

LLHTTP_C := $(MGMT_LLHTTP:%=$(LLHTTP_DIR)/%.c)
MGMT_TEST_CFLAGS := -isystem $(MBEDTLS_DIR)/include -isystem $(BEARSSL_DIR)/inc -isystem $(WSLAY_DIR)/lib/includes -DMBEDTLS_SHA1_C -DHAVE_ARPA_INET_H -DHAVE_NETINET_IN_H
MGMT_TEST_CFLAGS += -isystem $(LWIP_DIR)/src/include -isystem $(LWIP_DIR)/src -Itest/unit/lwip -isystem $(ZLIB_DIR) -DZ_SOLO
LLHTTP_CFLAGS := -isystem $(LLHTTP_DIR)
BEARSSL_C := $(MGMT_BEARSSL:%=$(BEARSSL_DIR)/src/symcipher/%.c)
# Its server, with the lwIP that it uses.
MGMT_SERVER_C := mgmt/server.c mgmt/answer.c mgmt/connection.c mgmt/isn.c mgmt/listen.c mgmt/places.c
MGMT_TEST_LWIP := mgmt/acd.c mgmt/sntp.c mgmt/ntp.c $(patsubst %,$(LWIP_DIR)/src/%.c,$(filter-out apps/mdns/% apps/altcp_tls/%,$(MGMT_LWIP)))
# The management guest's pure part: its resources, and the code they use.
MGMT_API_C := $(filter-out mgmt/acd.c mgmt/sntp.c mgmt/ntp.c mgmt/frames.c mgmt/main.c mgmt/port.c mgmt/names.c mgmt/netif.c $(MGMT_SERVER_C) mgmt/syslog_udp.c mgmt/libc.c $(wildcard mgmt/tls*.c),$(wildcard mgmt/*.c)) $(MGMT_PURE) \
        $(MGMT_WSLAY:%=$(WSLAY_DIR)/lib/%.c) $(MBEDTLS_DIR)/library/sha1.c $(MBEDTLS_DIR)/library/sha256.c $(MBEDTLS_DIR)/library/base64.c $(MBEDTLS_DIR)/library/constant_time.c $(MBEDTLS_DIR)/library/platform_util.c $(MGMT_ZLIB:%=$(ZLIB_DIR)/%.c)
# All of its network: lwIP with TLS, and their users.
MGMT_STACK_C := mgmt/acd.c mgmt/sntp.c mgmt/ntp.c mgmt/frames.c mgmt/names.c mgmt/tls.c mgmt/tls_alert.c mgmt/tls_chachapoly.c mgmt/tls_handshakes.c mgmt/tls_suites.c mgmt/tls_x25519.c $(MGMT_SERVER_C) $(MGMT_LWIP:%=$(LWIP_DIR)/src/%.c) \
        $(filter-out $(MGMT_API_C),$(MGMT_MBEDTLS:%=$(MBEDTLS_DIR)/library/%.c)) $(BEARSSL_C)
ENGINE_C := hv/core.c hv/gmem.c hv/core_mailbox.c hv/core_bind.c hv/core_chores.c hv/core_requests.c hv/guest.c hv/guest_deploy.c hv/guest_disks.c hv/guest_shared.c hv/guest_start.c hv/guest_phase.c hv/guest_table.c hv/guest_life.c hv/vcpu_life.c hv/exit.c hv/translations.c hv/guest_pages.c hv/image.c hv/job.c \
        hv/sched.c hv/ration.c hv/stuck.c hv/restart.c hv/control.c hv/hostmem.c hv/mem.c hv/lib.c hv/fmt.c hv/date.c \
        hv/flat.c hv/guest_config.c hv/plain.c hv/load_plan.c $(wildcard hv/pc/*.c) arch/x86/cpu/stack.c arch/x86/cpu/stack_switch.asm
# A virtio device's registers and transports, and what is below them.
VIRTIO_C := hv/gmem.c $(patsubst %,hv/pc/%.c,virtio virtio_buffer virtio_plug virtio_pci virtio_legacy virtio_mmio virtqueue msix pci bus) hv/lib.c
# What a guest of AMD-V sees: objects below svm/ are compiled over the VMCB.
SVM_EXITS_C := $(patsubst %,svm/%,arch/x86/svm/exits.c arch/x86/svm/exits_cr.c arch/x86/svm/entered.c $(filter-out %/run.c %/tree.c %/lazy.c %/start.c %/nested.c %/task_switch.c,$(wildcard arch/x86/guest/*.c)))
# vmcsdump without its main().
sources = $(subst @svm,$(SVM_EXITS_C),$(subst @virtio,$(VIRTIO_C),$(subst @load,$(wildcard mgmt/load/*.c) hv/load_plan.c,$(subst @pc,$(wildcard hv/pc/*.c) hv/date.c,$(subst @engine,$(ENGINE_C),$(subst @stack,$(MGMT_STACK_C),$(subst @lwip,$(MGMT_TEST_LWIP),$(subst @server,$(MGMT_SERVER_C) @lwip,$(subst @vmcsdump,$(filter-out mgmt/tools/vmcsdump.c,$(VMCSDUMP_C)),$(subst @mgmt,$(MGMT_API_C),$(subst @llhttp,$(LLHTTP_C),$(subst @chachapoly,$(BEARSSL_C) $(CHACHAPOLY_C),$(filter-out @jsmn,$(1))))))))))))))

# mbedTLS's own.
CHACHAPOLY_C := $(patsubst %,$(MBEDTLS_DIR)/library/%.c,chacha20 chachapoly constant_time platform_util poly1305)

# Replaces the layer below arch/x86/guest/ with a plain struct.
FAKE_VCPU := -DVCPU_STATE='<test/unit/vcpu_state.h>'
SVM_VCPU := -DVCPU_STATE='<test/unit/svm_state.h>'
SANITIZE_THREADS := -fsanitize=thread -fno-omit-frame-pointer
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# For our own sources: a test that calls something else than it seems to is an error; `make check` makes all of these warnings errors. cmocka 2 deprecates the only
# names that cmocka 1 has; a ring in a struct is a GNU extension.
TEST_WARN := $(filter-out -Werror,$(WARN)) -Werror=implicit-function-declaration -Werror=incompatible-pointer-types -Werror=int-conversion \
        -Wno-deprecated-declarations -Wno-gnu-variable-sized-type-not-at-end
# -Wa: page_files.c makes the assembler read generated files.
# A clock that the tests control.
ON_HOST := -DARCH_TEST_CLOCK
# -g1: enough for a sanitizer's report.
TEST_CFLAGS := -std=c11 -g1 $(ON_HOST) -Wa,-I$(BUILD)/gen $(INCLUDE) $(LLHTTP_CFLAGS) $(MGMT_TEST_CFLAGS) -DMBEDTLS_CONFIG_FILE='<test/unit/mbedtls_config.h>' $(FAKE_VCPU) $(SANITIZE)

UNIT := $(patsubst test/unit/%.c,%,$(wildcard test/unit/test_*.c))
FUZZ := $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/fuzz_*.c))
# These have a thread for each core: they run with the thread sanitizer, too.
THREADED := test_engine_threads
UNIT_RUNS := $(UNIT:%=$(BUILD)/unit/gcc/%.passed) $(UNIT:%=$(BUILD)/unit/clang/%.passed) $(THREADED:%=$(BUILD)/unit/threads/%.passed)
FUZZ_RUNS := 20000
# Code that strangers can reach.
fuzz_http_RUNS := 100000
fuzz_deploy_RUNS := 100000
# Slow ones: each input is a program of hundreds of frames, or page tables that are compared byte by byte.
fuzz_stack_RUNS := 3000
fuzz_page_walk_RUNS := 5000

fuzz_instruction_RUNS := 500000
fuzz_mmio_RUNS := 50000
$(BUILD)/fuzz/fuzz_instruction: FUZZ_LIBS := -lZydis
$(BUILD)/fuzz/fuzz_mmio: FUZZ_LIBS := -lcmocka

# Each source is compiled once per variant, however many programs link it: $(call objects,VARIANT,SOURCES).
THIRD_NAMES := lwip=$(LWIP_DIR) mbedtls=$(MBEDTLS_DIR) bearssl=$(BEARSSL_DIR) wslay=$(WSLAY_DIR) llhttp=$(LLHTTP_DIR) zlib=$(ZLIB_DIR)
third_name = $(patsubst $(LWIP_DIR)/%,third/lwip/%,$(patsubst $(MBEDTLS_DIR)/%,third/mbedtls/%,$(patsubst $(BEARSSL_DIR)/%,third/bearssl/%,$(patsubst $(WSLAY_DIR)/%,third/wslay/%,\
        $(patsubst $(LLHTTP_DIR)/%,third/llhttp/%,$(patsubst $(ZLIB_DIR)/%,third/zlib/%,$(1)))))))
objects = $(patsubst %.asm,$(BUILD)/$(1)/%.asm.o,$(patsubst %.c,$(BUILD)/$(1)/%.o,$(call third_name,$(2))))

# VARIANT, compiler and flags. Not -MMD: it leaves out our headers that lwIP's and mbedTLS's include.
define objects_rule
$(BUILD)/$(1)/%.o: %.c test/test.mk $(THIRD_VERSIONS) | $(GEN) deps-test
	$$(in_dir)
	@$(2) $$(TEST_CFLAGS) $$(TEST_WARN) -MD -MP -c $$< $$(out_d)
$(BUILD)/$(1)/svm/%.o: %.c test/test.mk | $(GEN) deps-test
	$$(in_dir)
	@$(2) $$(subst $(FAKE_VCPU),$(SVM_VCPU),$$(TEST_CFLAGS)) $$(TEST_WARN) -MD -MP -c $$< $$(out_d)
$(BUILD)/$(1)/%.asm.o: %.asm test/test.mk
	$$(in_dir)
	@$(NASM) -f elf64 $$< $$(out)
$(foreach t,$(THIRD_NAMES),$(call third_rule,$(1),$(2),$(firstword $(subst =, ,$(t))),$(lastword $(subst =, ,$(t)))))
$(BUILD)/$(1)/mgmt/page_files.o: mgmt/page/index.html mgmt/page/icon.svg mgmt/openapi.json $(BUILD)/gen/page.js.gz $(BUILD)/gen/page.css.gz
endef
define third_rule

$(BUILD)/$(1)/third/$(3)/%.o: test/test.mk $(THIRD_VERSIONS) | $(GEN) deps-test
	$$(in_dir)
	@$(2) $$(TEST_CFLAGS) $(if $(filter bearssl,$(3)),$$(BEARSSL_CFLAGS)) -w -MD -MP -c $(4)/$$*.c $$(out_d)
endef
# clang's objects are used for fuzzing too; the fuzzer's instrumentation does unit tests no harm. gcc's are not optimised, so that both kinds are tested.
CLANG := clang -O1 -fsanitize=fuzzer-no-link
$(eval $(call objects_rule,unit/gcc,gcc -O0))
$(eval $(call objects_rule,unit/clang,$(CLANG)))
$(eval $(call objects_rule,unit/threads,gcc -O1))
$(eval $(call objects_rule,fuzz-stack,$(CLANG)))
$(eval $(call objects_rule,coverage,gcc))

# For fuzz_stack, lwIP, mbedTLS and the sources that include their headers are compiled as in the guest.
STACKED := mgmt/% test/% $(LWIP_DIR)/% $(MBEDTLS_DIR)/%
stack_objects = $(call objects,fuzz-stack,$(filter $(STACKED),$(1))) $(call objects,unit/clang,$(filter-out $(STACKED),$(1)))

# Folder, program, compiler and flags.
define unit_rule
$(BUILD)/unit/$(1)/$(2): $(call objects,unit/$(1),test/unit/$(2).c $($(2)_SOURCES))
	$$(in_dir)
	@$(3) $$(filter %.o,$$^) -lcmocka $$(out)
$(BUILD)/unit/$(1)/$(2).passed: $(BUILD)/unit/$(1)/$(2)
	@$$< > $$@.log 2>&1 && echo "ok   $(2) ($(1)) $$$$(sed -n 's/.*PASSED  \] //p' $$@.log)" || \
	    { cat $$@.log; echo "FAIL $(2) ($(1))"; exit 1; }
	@mv $$@.log $$@
endef
define coverage_rule
$(BUILD)/coverage/$(1): $(call objects,coverage,test/unit/$(1).c $($(1)_SOURCES))
	$$(in_dir)
	@gcc --coverage $$(filter %.o,$$^) -lcmocka $$(out)
endef
define fuzz_rule
$(BUILD)/fuzz/$(1): $(if $(filter fuzz_stack,$(1)),$(call stack_objects,test/fuzz/$(1).c $($(1)_SOURCES)),$(call objects,unit/clang,test/fuzz/$(1).c $($(1)_SOURCES)))
	$$(in_dir)
	@clang $(SANITIZE) -fsanitize=fuzzer $$(filter %.o,$$^) $$(FUZZ_LIBS) $$(out)
endef

# The SOURCES comments of all programs, read once, as NAME_SAYS. A comment may span several lines.
TEST_PROGRAMS := $(UNIT:%=test/unit/%.c) $(FUZZ:%=test/fuzz/%.c)
$(BUILD)/gen/sources.mk: $(TEST_PROGRAMS) $(BUILD)/gen/TEST_PROGRAMS.list test/test.mk
	@awk 'FNR == 1 { n = split(FILENAME, path, "/"); sub(/\.c$$/, "", path[n]); printf "%s%s_SAYS :=", NR == 1 ? "" : "\n", path[n]; f = 0 } FNR > 8 { nextfile } \
	    /SOURCES:/ { f = 1 } { end = /\*\// } f { sub(/.*SOURCES:/, ""); sub(/^ *\* /, ""); sub(/ *\*\/.*/, ""); printf " %s", $$0 } end { f = 0 } END { print "" }' $(TEST_PROGRAMS) > $@.new
	@mv -f $@.new $@

# Only if one of these programs is wanted: it is thousands of lines.
ifneq ($(filter unit fuzz fuzz-short coverage $(BUILD)/unit/% $(BUILD)/fuzz/% $(BUILD)/coverage/%,$(MAKECMDGOALS)),)
include $(BUILD)/gen/sources.mk
$(foreach t,$(UNIT),$(eval $(t)_SOURCES := $(call sources,$($(t)_SAYS)))$(eval $(call unit_rule,gcc,$(t),gcc $(SANITIZE)))$(eval $(call unit_rule,clang,$(t),clang $(SANITIZE)))$(eval $(call coverage_rule,$(t))))
$(foreach t,$(THREADED),$(eval $(call unit_rule,threads,$(t),gcc $(SANITIZE_THREADS))))
$(foreach t,$(FUZZ),$(eval $(t)_SOURCES := $(call sources,$($(t)_SAYS)))$(eval $(call fuzz_rule,$(t))))
-include $(filter %.d,$(call files_below,$(BUILD)/unit/gcc $(BUILD)/unit/clang $(BUILD)/unit/threads $(BUILD)/fuzz-stack $(BUILD)/fuzz/everest $(BUILD)/coverage))
endif

# How much of these folders' lines the unit tests reach. Sources that no test links count too.
COVERED := hv/ arch/x86/guest/
COVERAGE_O := $(patsubst %.c,$(BUILD)/coverage/%.o,$(filter $(COVERED:%=%%),$(KERNEL_C)))
UNSANITIZED := $(filter-out $(SANITIZE),$(TEST_CFLAGS)) -O0
$(BUILD)/unit/threads/%: TEST_CFLAGS := $(filter-out $(SANITIZE),$(TEST_CFLAGS)) $(SANITIZE_THREADS)
# The thread sanitizer does not see fences, and gcc warns that it does not.
$(BUILD)/unit/threads/%: TEST_WARN += -Wno-tsan
$(BUILD)/coverage/%: TEST_CFLAGS := $(UNSANITIZED) --coverage
$(BUILD)/coverage/third/%: TEST_CFLAGS := $(UNSANITIZED)
# Counts of an earlier run are removed first: new ones would be added to them.
$(BUILD)/coverage.stamp: $(UNIT:%=$(BUILD)/coverage/%) $(COVERAGE_O)
	@find $(BUILD)/coverage -name '*.gcda' -delete
	@for t in $(UNIT); do $(BUILD)/coverage/$$t > $(BUILD)/coverage/$$t.log 2>&1 || { cat $(BUILD)/coverage/$$t.log; echo "FAIL $$t"; exit 1; }; done
	@touch $@
coverage: $(BUILD)/coverage.stamp
	@$(PYTHON) test/tools/coverage.py $(BUILD)/coverage $(COVERED)

lines: $(BUILD)/bulkhead.elf
	@$(PYTHON) test/tools/lines.py $(KERNEL_D)

$(BUILD)/gen/entry_rules.h: test/entry_rules.json test/tools/entry_rules.py
	$(in_dir)
	@$(PYTHON) test/tools/entry_rules.py $< $@.new && mv -f $@.new $@
$(foreach v,unit/gcc unit/clang coverage,$(BUILD)/$(v)/test/unit/test_entry_check.o): $(BUILD)/gen/entry_rules.h

unit: $(UNIT_RUNS)
	@echo "unit tests: $(words $(UNIT)) programs, each with gcc and clang, passed"

# The guest's own configuration of lwIP and mbedTLS. The page is below 2 GB, where the sanitizers have nothing. lwIP takes addresses of members through pointers that
# may be NULL, and reads unaligned words: our compilers and x86 do both as intended, so these checks are off. Reading through NULL still ends the program.
stack_flags = $(subst -Itest/unit/lwip,-Itest/fuzz/lwip -isystem $(LWIP_DIR)/src/apps/altcp_tls,$(subst test/unit/mbedtls_config.h,mgmt/include/mbedtls_config.h,$(1))) \
        -isystem $(MBEDTLS_DIR)/3rdparty/everest/include/everest -DMBEDTLS_ALLOW_PRIVATE_ACCESS -DPORT_HOST_PAGE=0x10000000ull
STACK_EVEREST := $(MGMT_EVEREST:%=$(BUILD)/fuzz/everest/%.o)
$(BUILD)/fuzz-stack/%.o $(STACK_EVEREST): TEST_CFLAGS := $(call stack_flags,$(TEST_CFLAGS)) -fno-sanitize=null,alignment
$(BUILD)/fuzz/fuzz_stack: FUZZ_LIBS := $(MGMT_WRAP:%=-Wl,--wrap=%) -lssl -lcrypto
$(BUILD)/fuzz/fuzz_stack: $(STACK_EVEREST)
$(STACK_EVEREST): test/test.mk $(THIRD_VERSIONS) | $(GEN) deps-test
	$(in_dir)
	@$(CLANG) $(TEST_CFLAGS) -w -DMBEDTLS_ECDH_VARIANT_EVEREST_ENABLED -isystem $(MBEDTLS_DIR)/library -isystem $(MBEDTLS_DIR)/3rdparty/everest/include \
	    -isystem $(MBEDTLS_DIR)/3rdparty/everest/include/everest/kremlib -MD -MP -c $(MBEDTLS_DIR)/3rdparty/everest/library/$(@F:.o=.c) $(out_d)

# A fixed seed and number of runs, and no random addresses, so that every run is the same: libFuzzer learns operands from compares, of addresses too. Without setarch's
# permission (in some containers) runs differ a little. The limit for an input is thousands of times what the slowest takes: only one that hangs reaches it.
FUZZ_FIXED = env -i PATH=/usr/bin:/bin $$(setarch -R true 2> /dev/null && echo setarch -R)
$(BUILD)/fuzz/%.passed: $(BUILD)/fuzz/%
	@rm -rf $(BUILD)/fuzz/found/$* && mkdir -p $(BUILD)/fuzz/found/$*
	@$(FUZZ_FIXED) $< -seed=1 -runs=$(or $($*_RUNS),$(FUZZ_RUNS)) -timeout=200 -artifact_prefix=$(BUILD)/fuzz/ \
	    $(patsubst %,-dict=%,$(wildcard test/fuzz/$(*:fuzz_%=%).dict)) \
	    $(BUILD)/fuzz/found/$* $(wildcard test/fuzz/corpus/$(*:fuzz_%=%)) > $@.log 2>&1 && echo "ok   $*" || \
	    { tail -40 $@.log; echo "FAIL $*"; exit 1; }
	@mv $@.log $@

fuzz-short: $(FUZZ:%=$(BUILD)/fuzz/%.passed)
	@echo "fuzzers: $(words $(FUZZ)), nothing found"

fuzz: $(FUZZ:%=$(BUILD)/fuzz/%)
	@for f in $(FUZZ); do echo "== $$f, $(SECONDS) s"; mkdir -p $(BUILD)/fuzz/corpus/$$f; \
	    $(BUILD)/fuzz/$$f $$(ls test/fuzz/$${f#fuzz_}.dict 2>/dev/null | sed s/^/-dict=/) -max_total_time=$(SECONDS) -artifact_prefix=$(BUILD)/fuzz/ -verbosity=0 \
	    $(BUILD)/fuzz/corpus/$$f $$(ls -d test/fuzz/corpus/$${f#fuzz_} 2>/dev/null) || exit 1; done

# The limit is many times what the longest test takes: a test that hangs fails under its name, and the others go on.
PYTEST := BULKHEAD_BUILD=$(BUILD) $(PYTHON) -m pytest -p no:cacheprovider --durations=12 --timeout=3600 --timeout-method=signal
boot-test: deps-test all iso sdk $(GUEST_IMAGES) $(BUILD)/trials.elf $(BUILD)/nic_trial.elf
	@$(PYTEST) test/boot -v $(ARGS)

# Two pytests at a time share the test files, since an emulator uses only one core of the host.
boot-test-halves: deps-test all iso sdk $(GUEST_IMAGES) $(BUILD)/trials.elf $(BUILD)/nic_trial.elf
	@rm -rf $(BUILD)/boot-queue && mkdir $(BUILD)/boot-queue
	@{ $(PYTEST) -v --queue=$(BUILD)/boot-queue test/boot > $(BUILD)/boot-first.log 2>&1; echo $$? > $(BUILD)/boot-first.status; } & \
	    $(PYTEST) -v --queue=$(BUILD)/boot-queue test/boot; second=$$?; wait; cat $(BUILD)/boot-first.log; \
	    [ $$second = 0 ] && [ "$$(cat $(BUILD)/boot-first.status)" = 0 ]

# One after the other, so that the emulators have the machine to themselves.
test: deps-test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -j2 all
	@$(MAKE) --no-print-directory circles
	@$(MAKE) --no-print-directory iso
	@$(MAKE) --no-print-directory -j2 unit
	@$(MAKE) --no-print-directory -j2 fuzz-short
	@$(MAKE) --no-print-directory boot-test-halves

bench: deps-test all iso $(GUEST_IMAGES) $(BUILD)/nic_trial.elf
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/unrecorded UNRECORDED=1 $(BUILD)/unrecorded/bulkhead.elf > $(BUILD)/unrecorded.log
	@$(PYTHON) test/bench/run.py --build $(BUILD) $(if $(UPDATE),--update mgmt/MANUAL.md)

# The same guest under KVM, for comparison. Not part of `make test`.
bench-peers: deps-test $(BUILD)/guests/bench.elf $(BUILD)/guests/smp.elf $(BUILD)/peers/kvm
	@$(PYTHON) test/bench/peers.py --build $(BUILD) --cpus $(if $(filter file,$(origin CPUS)),2,$(CPUS))

$(BUILD)/peers/kvm: test/bench/peers/kvm.c
	$(call say,CC)
	$(Q)$(CC) -std=c11 -O2 -Wall -Wextra -Werror -static -pthread $< $(out)

# The same script in Debian's cloud kernel, bare and as a guest. Not part of `make test`.
bench-linux: deps-test all $(BUILD)/linux/mark
	@$(PYTHON) test/bench/linux.py --build $(BUILD) $(if $(MODELS),--models $(MODELS)) $(if $(UPDATE),--update mgmt/MANUAL.md)

$(BUILD)/linux/mark: test/bench/linux/mark.c
	$(call say,CC)
	$(Q)$(CC) -std=c11 -O2 -Wall -Wextra -Werror -static $< $(out)

# Which exits a boot of Debian's cloud kernels causes, by a hypervisor that counts accesses by device. Not part of `make test`.
bench-boots: deps-test all $(BUILD)/counted.elf
	@$(PYTHON) test/bench/boots.py --build $(BUILD) $(if $(UPDATE),--update mgmt/MANUAL.md)

COUNTED := exit_port_in exit_port_out exit_mmio_read exit_mmio_write
$(BUILD)/counted.elf: $(KERNEL_O) $(BUILD)/kernel/test/bench/count.o arch/x86/kernel.lds
	$(call say,LD)
	$(Q)$(call link_kernel,$(COUNTED:%=--wrap=%) $(filter %.o,$^))

# Outside CI: each try boots an emulator, for minutes. QEMU, unless MACHINE=bochs.
systems: deps-test all
	@$(PYTHON) test/systems/run.py --build $(BUILD) --machine $(MACHINE) --only "$(ONLY)" $(if $(UPDATE),--update mgmt/MANUAL.md)

# Outside CI: it fetches npm packages, and sends thousands of requests to an emulator.
clients: deps-test all
	@REQUESTS=$(or $(REQUESTS),10000) $(PYTHON) test/clients/run.py --build $(BUILD) --only "$(ONLY)"
	@$(if $(ONLY),:,$(MAKE) --no-print-directory clients-page)

# Outside CI: Slurm runs as root, and wants /sys/fs/cgroup.
slurm: deps-test all $(BUILD)/guests/echo.elf
	@$(PYTHON) test/slurm/run.py --build $(BUILD)

# What other projects' tools say about the page. Packages from the npm registry, by version and checksum: no part of the build or of CI.
AXE := axe-core 4.14.1 sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
$(BUILD)/clients/axe.min.js: test/tools/npm.sh test/test.mk
	@sh test/tools/npm.sh $(@D) $(AXE) axe.min.js
clients-page: deps-test all iso $(GUEST_IMAGES) $(BUILD)/clients/axe.min.js
	@$(PYTEST) test/boot/clients_axe.py $(ARGS)

OUR_C = $(filter %.c %.h,$(call files_below,arch hv iso net mgmt test))
# Code compiled with the management guest's configuration of lwIP and mbedTLS.
STACK_C := test/fuzz/fuzz_stack.c
# Our own code that runs on the host, and our own code that runs in a guest.
HOST_C := test/tools/config_check.c test/tools/fields.c $(wildcard mgmt/tools/*.c mgmt/bhctl/*.c) $(filter-out $(STACK_C),$(wildcard test/unit/*.c test/fuzz/*.c))
# Compiled like the management guest.
GUEST_BOOT_C := test/guests/lib/boot.c
GUEST_C := $(GUEST_NAMES:%=test/guests/%.c) $(filter-out $(GUEST_BOOT_C),$(wildcard test/guests/lib/*.c))
# cmocka 2 deprecates the only names that cmocka 1 has.
HOST_FLAGS = $(ON_HOST) -Wno-deprecated-declarations $(filter-out $(NO_DEPS) -O2,$(HOST_CFLAGS) $(LLHTTP_CFLAGS) $(MGMT_TEST_CFLAGS)) $(FAKE_VCPU)
STACK_FLAGS = $(call stack_flags,$(HOST_FLAGS) -DMBEDTLS_CONFIG_FILE='<test/unit/mbedtls_config.h>')
NO_DEPS := -MMD -MP
# tidy.sh gets the flags as one word, in which quotes would be part of them.
unquoted = $(subst ',,$(1))

# cppcheck does not know that panic() never returns, nor what __builtin_expect() gives. clang-tidy does, and checks for the same.
CPPCHECK := cppcheck --quiet --error-exitcode=1 --enable=warning,portability --inline-suppr -D__x86_64__ \
        --suppress=missingIncludeSystem --suppress=nullPointerRedundantCheck --suppress=nullPointerArithmetic:hv/pc/virtqueue.c \
        -I. -I$(BUILD)/gen -I$(BUILD)/include

# Checks that need no build and take seconds.
lint: deps-test
	@case "$$(clang-format --version)" in \
	*" version 14."*) clang-format --dry-run -Werror $(OUR_C) && echo "format: ok" ;; \
	*) echo "format: not looked at: version 14 of clang-format has the say, and this is another" ;; esac
	@$(PYTHON) test/tools/layers.py
	@$(PYTHON) test/tools/units.py
	@$(PYTHON) test/tools/circles.py $(BUILD)/gen/ROOT_O.list
	@$(MAKE) -s --no-print-directory $(BUILD)/fields
	@$(PYTHON) test/tools/documents.py $(BUILD)/fields --check

circles: $(BUILD)/bulkhead.elf $(BUILD)/gen/ROOT_O.list
	@$(PYTHON) test/tools/circles.py $(BUILD)/gen/ROOT_O.list

# Documents that repeat the tables of fields and words are generated from them; lint checks that they match.
FIELDS_C := test/tools/fields.c mgmt/config/words.c
$(BUILD)/fields: $(FIELDS_C) $(wildcard hv/*.def hv/*.h hv/abi/*.h mgmt/config/*.h) mgmt/service.h mgmt/words.h
	$(in_dir)
	@$(CC) -std=gnu11 -O0 $(INCLUDE) $(WARN) $(FIELDS_C) -o $@

documents: $(BUILD)/fields
	@$(PYTHON) test/tools/documents.py $<

reproducible: third-party
	@mkdir -p $(BUILD)
	@test/tools/reproducible.sh $(BUILD) $(THIRD_PARTY)

check: deps-check $(GEN) $(BUILD)/gen/entry_rules.h
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory -s -j2 BUILD=$(BUILD)/gcc CC=gcc all guests
	@$(MAKE) --no-print-directory -s -j2 BUILD=$(BUILD)/clang CC=clang all guests
	@gcc -fsyntax-only $(HOST_FLAGS) $(HOST_C)
	@gcc -fsyntax-only $(STACK_FLAGS) $(STACK_C)
	@echo "warnings: none from gcc and clang"
	@$(CPPCHECK) hv net arch/x86 mgmt/tools mgmt/bhctl test/tools test/guests
	@$(CPPCHECK) -Imgmt/include -imgmt/tools -imgmt/bhctl mgmt
	@echo "cppcheck: ok"
	@test/tools/tidy.sh "$(filter-out $(NO_DEPS),$(KERNEL_CFLAGS)) -Wa,-I$(BUILD)/gen" $(KERNEL_C) $(TRIALS_C)
	@test/tools/tidy.sh "$(subst ",\",$(call unquoted,$(filter-out $(NO_DEPS),$(KERNEL_CFLAGS) $(SVM_STATE))))" $(SVM_C)
	@test/tools/tidy.sh "$(call unquoted,$(filter-out $(NO_DEPS),$(MGMT_CFLAGS) $(WARN)))" $(MGMT_C) $(DECODE_C) $(GUEST_BOOT_C)
	@test/tools/tidy.sh "$(call unquoted,$(filter-out $(NO_DEPS),$(FREESTANDING) $(WARN)))" $(GUEST_C)
	@test/tools/tidy.sh "$(call unquoted,$(HOST_FLAGS))" $(HOST_C)
	@echo "clang-tidy: ok"
