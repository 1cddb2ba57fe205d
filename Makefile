# Bulkhead: `make run` boots the appliance, `make test` proves it, `make help` lists the rest.

MAKEFLAGS += --no-builtin-rules

# make splits at blanks.
$(if $(filter-out 1,$(words $(CURDIR))),$(error The path of this directory has a blank, which make cannot cope with: $(CURDIR). Move it to one without))
BUILD   ?= build
$(foreach v,BUILD OUT,$(if $(filter-out 0 1,$(words $($(v)))),$(error $(v)=$($(v)) has a blank, which make cannot cope with: give one without)))
CONFIG  ?= iso/guests.json
OUT     ?= $(BUILD)/bulkhead.iso
CPUS    ?= 4
MEM     ?= 512
PORT    ?= 8080
HTTPS_PORT ?= 8443
MACHINE ?= auto
FIRMWARE ?= bios
SECONDS ?= 600
PYTHON  := /usr/bin/python3
CC      := gcc
NASM    := nasm
VERSION := 0.1.0

# A target is complete or absent, even if make itself was killed. out_d also writes its dependencies, if -MMD or -MD asks for them.
out = -o $@.new && mv -f $@.new $@
out_d = -MF $(@:.o=.d) -MT $@ $(out)

# V=1 shows every command; otherwise one line names each target; make -s prints nothing.
Q   := $(if $(V),,@)
say  = $(in_dir)$(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,$(info $()  $(1)$(if $(filter NASM,$(1)),,  ) $@))

# Nothing below starts a process that make can do without, so a build with nothing to do is quick.
# Makes the target's directory, once.
in_dir = $(if $(made/$(@D)),,$(eval made/$(@D) := 1)$(shell mkdir -p $(@D)))
# All files below the given directories.
files_below = $(foreach f,$(wildcard $(1:%=%/*)),$(or $(call files_below,$(f)),$(f)))
# renew FILE: replaces FILE with FILE.new unless they are equal, then touches the stamp that stands for it.
renew = { cmp -s $(1).new $(1) && rm $(1).new || mv $(1).new $(1); } && touch $@
unless_there = $(if $(filter-out $(wildcard $(1)),$(1)),FORCE)
differ = $(subst x$(strip $(1)),,x$(strip $(2)))$(subst x$(strip $(2)),,x$(strip $(1)))

export SOURCE_DATE_EPOCH := 1700000000

WARN := -Wall -Wextra -Wconversion -Wsign-conversion -Wmissing-prototypes -Wstrict-prototypes \
        -Wshadow -Wvla -Werror
INCLUDE := -I. -I$(BUILD)/gen -isystem $(BUILD)/include
FREESTANDING := -std=c11 -ffreestanding -fno-pie -mno-red-zone -mgeneral-regs-only -mcmodel=small \
        -fno-asynchronous-unwind-tables -fno-strict-aliasing -O2 -g -MMD -MP \
        -ffile-prefix-map=$(CURDIR)=. $(INCLUDE)
# UNRECORDED=1 leaves out flight recorder and exit counters: `make bench` compares with that.
KERNEL_DEFINES := $(if $(UNRECORDED),-DVMX_UNRECORDED)
KERNEL_CFLAGS := $(FREESTANDING) $(KERNEL_DEFINES) $(WARN) -fstack-protector-strong -mstack-protector-guard=global

# Explains the VMCS to people: for the management guest and host tools, not for the root.
ENTRY_CHECK_C := $(wildcard arch/x86/inspect/entry_check*.c)
DECODE_C := $(wildcard arch/x86/inspect/decode*.c)
KERNEL_C := $(filter-out arch/x86/vmx/offsets.c $(DECODE_C) $(ENTRY_CHECK_C),$(wildcard arch/x86/*.c arch/x86/boot/*.c arch/x86/cpu/*.c \
        arch/x86/vmx/*.c arch/x86/inspect/*.c arch/x86/guest/*.c hv/*.c hv/pc/*.c net/*.c))
KERNEL_ASM := $(wildcard arch/x86/boot/*.asm arch/x86/cpu/*.asm arch/x86/vmx/*.asm)
# The second backend is one object: arch/x86/guest/ is compiled again, over its VCPU_STATE, and only its struct virt_ops is seen from outside.
SVM_C := $(filter-out arch/x86/svm/offsets.c,$(wildcard arch/x86/svm/*.c))
SVM_O := $(SVM_C:%.c=$(BUILD)/kernel/%.o) $(BUILD)/kernel/arch/x86/svm/enter.asm.o
SVM_GUEST_O := $(patsubst %.c,$(BUILD)/kernel/svm/%.o,$(wildcard arch/x86/guest/*.c))
SVM_STATE := -DVCPU_STATE='"arch/x86/svm/vcpu_state.h"'
VMX_O := $(KERNEL_C:%.c=$(BUILD)/kernel/%.o) $(KERNEL_ASM:%.asm=$(BUILD)/kernel/%.asm.o)
KERNEL_O := $(VMX_O) $(BUILD)/kernel/svm.o
# Those that circles are looked for in.
ROOT_O := $(VMX_O) $(SVM_O)
ROOT_ASM_O := $(filter %.asm.o,$(ROOT_O))
KERNEL_D := $(patsubst %.o,%.d,$(filter-out $(ROOT_ASM_O),$(ROOT_O)) $(SVM_GUEST_O)) $(ROOT_ASM_O:=.d) $(BUILD)/gen/offsets.d $(BUILD)/gen/svm_offsets.d

GEN := $(BUILD)/gen/version.h $(BUILD)/gen/third_party.h $(BUILD)/include/jsmn.h $(BUILD)/gen/xterm.js.gz $(BUILD)/gen/page.js.gz $(BUILD)/gen/page.css.gz $(BUILD)/gen/dsdt.h $(BUILD)/gen/bios.h

.PHONY: all run run-locked iso netboot test unit fuzz fuzz-short boot-test boot-test-halves bench bench-boots bench-linux bench-peers systems clients clients-page slurm check lint circles documents lines coverage reproducible guests config-check vmcsdump bhctl sdk clean distclean fresh help \
        third-party third-party-pins deps deps-build deps-test deps-check deps-run deps-qemu deps-uefi FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/bulkhead.elf $(BUILD)/mgmt.elf $(BUILD)/config-check $(BUILD)/vmcsdump $(BUILD)/bhctl

help:
	@sed -n 's/^## //p' Makefile

# ---- what the build needs ----

# Packages are checked before anything is built, and again after packages were installed or removed.
deps-build deps-test deps-check deps-run deps-qemu deps-uefi: deps-%: $(BUILD)/gen/deps-%
deps-test deps-check deps-run deps-qemu deps-uefi: deps-build
deps: deps-check
$(BUILD)/gen/deps-%: test/tools/deps.sh $(wildcard /var/lib/dpkg/status)
	$(in_dir)
	@test/tools/deps.sh $* && touch $@

# Order-only: a newer stamp of the check must not rebuild anything.
$(ROOT_O) $(SVM_GUEST_O) $(GEN): | deps-build

$(BUILD)/include/jsmn.h: | deps-build
	$(in_dir)
	@cp /usr/include/jsmn.h $@

# The build id is the hash of the build's inputs; the file changes only when they do.
ID_FILES := Makefile $(call files_below,arch hv net mgmt)
$(BUILD)/gen/version.h: $(BUILD)/gen/version.stamp ;
$(BUILD)/gen/version.stamp: $(ID_FILES) $(BUILD)/gen/ID_FILES.list $(call unless_there,$(BUILD)/gen/version.h)
	@id=$$(cat Makefile $$(find arch hv net mgmt -type f ! -name '*.md' ! -name '*.png' | LC_ALL=C sort) | \
	    sha256sum | cut -c1-16); \
	printf '#pragma once\n#define BULKHEAD_VERSION "$(VERSION)"\n#define BULKHEAD_BUILD_ID "%s"\n' \
	    $$id > $(@:.stamp=.h.new); $(call renew,$(@:.stamp=.h))

# The page's terminal in the form the browser loads: one compressed module.
$(BUILD)/gen/xterm.js.gz: mgmt/tools/bundle.py $(BUILD)/gen/third_party.h
	$(in_dir)
	@$(PYTHON) mgmt/tools/bundle.py $(XTERM_DIR)/xterm.js $(@:.gz=)
	@gzip -9nc $(@:.gz=) > $@.new && mv -f $@.new $@

# The page's modules and styles likewise: each one answer, compressed.
$(BUILD)/gen/page.js.gz: mgmt/tools/page.py $(wildcard mgmt/page/*.js)
	$(in_dir)
	@$(PYTHON) mgmt/tools/page.py mgmt/page/app.js $(@:.gz=)
	@gzip -9nc $(@:.gz=) > $@.new && mv -f $@.new $@

$(BUILD)/gen/page.css.gz: mgmt/page/style.css $(BUILD)/gen/third_party.h
	$(in_dir)
	@cat $(XTERM_DIR)/xterm.css mgmt/page/style.css | gzip -9nc > $@.new && mv -f $@.new $@

# Guests' DSDT, compiled and turned into an array.
$(BUILD)/gen/dsdt.h: mgmt/load/dsdt.asl hv/abi/pc.h
	$(in_dir)
	@$(CC) -E -P -std=c11 -x c -I. $< -o $(@:.h=.asl)
	@iasl -vs -we -p $(@:.h=) $(@:.h=.asl) > $(@:.h=.log) || { cat $(@:.h=.log); exit 1; }
	@{ echo 'static const uint8_t dsdt_aml[] = {'; od -An -v -tx1 $(@:.h=.aml) | sed 's/ / 0x/g; s/\([0-9a-f]\) /\1, /g; s/$$/,/'; echo '};'; } > $@.new && mv -f $@.new $@

# The services that guests find in real mode, likewise.
$(BUILD)/gen/bios.h: mgmt/load/bios.asm
	$(in_dir)
	@$(NASM) -f bin -o $(@:.h=.bin) $<
	@{ echo 'static const uint8_t bios_code[] = {'; od -An -v -tx1 $(@:.h=.bin) | sed 's/ / 0x/g; s/\([0-9a-f]\) /\1, /g; s/$$/,/'; echo '};'; } > $@.new && mv -f $@.new $@

# Structure offsets for the assembler, from the compiler itself.
OFFSETS := $(BUILD)/gen/offsets $(BUILD)/gen/svm_offsets
$(BUILD)/gen/offsets.stamp: arch/x86/vmx/offsets.c
$(BUILD)/gen/svm_offsets.stamp: arch/x86/svm/offsets.c
$(OFFSETS:%=%.inc): %.inc: %.stamp ;
$(OFFSETS:%=%.stamp): %.stamp: Makefile $(call unless_there,$(OFFSETS:%=%.inc)) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(KERNEL_CFLAGS) $(if $(findstring clang,$(CC)),-fno-integrated-as) -MF $(@:.stamp=.d) -MT $@ -S -o $(@:.stamp=.s) $(filter %/offsets.c,$^)
	$(Q)sed -n 's/^->\([A-Za-z0-9_]*\) \$$*\(.*\)/%define \1 \2/p' $(@:.stamp=.s) > $(@:.stamp=.inc.new) && $(call renew,$(@:.stamp=.inc))

# ---- kernel ----

$(BUILD)/kernel/%.o: %.c Makefile | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(KERNEL_CFLAGS) -c $< $(out_d)

$(BUILD)/kernel/svm/%.o: %.c Makefile | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(KERNEL_CFLAGS) -c $< $(out_d)

$(SVM_O) $(SVM_GUEST_O): KERNEL_CFLAGS += $(SVM_STATE)
$(BUILD)/kernel/svm.o: $(SVM_O) $(SVM_GUEST_O) $(BUILD)/gen/SVM_O.list
	$(call say,LD)
	$(Q)ld -r -z noexecstack -o $@.whole $(SVM_O) $(SVM_GUEST_O) && objcopy --keep-global-symbol=svm_ops $@.whole $@.new && mv -f $@.new $@ && rm $@.whole

$(BUILD)/kernel/hv/main.o: $(BUILD)/gen/version.h

# Without line numbers: NASM would write the build directory into them.
$(BUILD)/kernel/%.asm.o: %.asm $(OFFSETS:%=%.inc) Makefile
	$(call say,NASM)
	$(Q)$(NASM) -f elf64 $(KERNEL_DEFINES) -I./ -I$(BUILD)/gen/ -MD $@.d -MT $@ $< $(out)

# A list of files, so that removing one also causes a new link.
$(BUILD)/gen/%.list: FORCE
	$(if $(call differ,$(file <$@),$($*)),$(in_dir)$(file >$@,$($*)))

# $(call link_kernel,OBJECTS): the second link adds a table of the places that hold an absolute address, which the first one tells, for boot/start.asm.
LD_KERNEL := ld -n -nostdlib -z noexecstack --no-warn-rwx-segments -T arch/x86/kernel.lds
PLACES := $$3 ~ /^R_X86_64_(64|32|32S)$$/ { print ".long 0x" $$1; next } $$3 ~ /^R_/ && $$3 !~ /^R_X86_64_(PC|PLT)32$$/ { print "cannot be relocated: " $$0 > "/dev/stderr"; exit 1 }
link_kernel = $(LD_KERNEL) -q -S $(1) -o $@.first && readelf -rW $@.first > $@.relocations && awk 'BEGIN { print ".section .relocations, \"aw\"" } $(PLACES)' $@.relocations > $@.s && \
	as $@.s -o $@.places && $(LD_KERNEL) $(1) $@.places $(out) && rm $@.first $@.relocations $@.s $@.places

$(BUILD)/bulkhead.elf: $(KERNEL_O) arch/x86/kernel.lds $(BUILD)/gen/KERNEL_O.list
	$(call say,LD)
	$(Q)$(call link_kernel,$(KERNEL_O))

include mgmt/mgmt.mk
include test/guests/guests.mk
include test/kernel/kernel.mk

# ---- ISO ----

HOST_CFLAGS := -std=gnu11 -O2 -g -MMD -MP -ffile-prefix-map=$(CURDIR)=. $(INCLUDE) $(WARN)
CONFIG_CHECK_C := test/tools/config_check.c $(wildcard mgmt/config/*.c mgmt/load/*.c) hv/guest_config.c hv/options.c hv/lib.c hv/fmt.c

VMCSDUMP_C := $(wildcard mgmt/tools/*.c) $(MGMT_TELL) $(MGMT_PURE)
BHCTL_C := $(wildcard mgmt/bhctl/*.c) hv/plain.c mgmt/config/words.c
HOST_O := $(sort $(CONFIG_CHECK_C:%.c=$(BUILD)/host/%.o) $(VMCSDUMP_C:%.c=$(BUILD)/host/%.o) $(BHCTL_C:%.c=$(BUILD)/host/%.o))

$(BUILD)/host/%.o: %.c Makefile | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(HOST_CFLAGS) -c $< $(out_d)

$(BUILD)/host/zlib/%.o: Makefile $(BUILD)/gen/third_party.h
	$(call say,CC)
	$(Q)$(CC) -O2 -w -DZ_SOLO -ffile-prefix-map=$(ZLIB_DIR)=zlib -c $(ZLIB_DIR)/$*.c $(out)

$(BUILD)/host/test/tools/config_check.o: HOST_CFLAGS += -isystem $(ZLIB_DIR) -DZ_SOLO

$(BUILD)/config-check: $(CONFIG_CHECK_C:%.c=$(BUILD)/host/%.o) $(MGMT_ZLIB:%=$(BUILD)/host/zlib/%.o) $(BUILD)/gen/CONFIG_CHECK_C.list
	$(call say,LD)
	$(Q)$(CC) $(filter %.o,$^) $(out)

$(BUILD)/vmcsdump: $(VMCSDUMP_C:%.c=$(BUILD)/host/%.o) $(BUILD)/gen/VMCSDUMP_C.list
	$(call say,LD)
	$(Q)$(CC) $(filter %.o,$^) $(out)

$(BUILD)/bhctl: $(BHCTL_C:%.c=$(BUILD)/host/%.o) $(BUILD)/gen/BHCTL_C.list
	$(call say,LD)
	$(Q)$(CC) $(filter %.o,$^) -lcurl -ljansson -lssl -lcrypto $(out)

# What guests see of the hypervisor's own headers goes with the SDK's.
SDK_HEADERS := arch/x86/cpu/io.h hv/pc/pci_registers.h hv/pc/virtio_registers.h arch/x86/guest/kvm_clock_abi.h
$(BUILD)/bulkhead-sdk.tar.gz: $(call files_below,iso/sdk) $(SDK_HEADERS) LICENSE Makefile
	$(in_dir)
	@rm -rf $(@D)/bulkhead-sdk && cp -R iso/sdk $(@D)/bulkhead-sdk && cp $(SDK_HEADERS) $(@D)/bulkhead-sdk/include/bulkhead && cp LICENSE $(@D)/bulkhead-sdk
	@tar --sort=name --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -C $(@D) -cf - bulkhead-sdk | gzip -9n > $@.new && mv -f $@.new $@

sdk: $(BUILD)/bulkhead-sdk.tar.gz
vmcsdump: $(BUILD)/vmcsdump
bhctl: $(BUILD)/bhctl

iso: $(OUT)

$(OUT): $(BUILD)/bulkhead.elf $(BUILD)/mgmt.elf $(GUEST_IMAGES) $(BUILD)/config-check FORCE
	@$(PYTHON) test/tools/mkiso.py --build $(BUILD) --config '$(CONFIG)' --out $@ $(if $(FORWARDED_PORT),--https-port $(FORWARDED_PORT))

NETBOOT ?= $(BUILD)/netboot
$(if $(filter-out 0 1,$(words $(NETBOOT))),$(error NETBOOT=$(NETBOOT) has a blank, which make cannot cope with: give one without))
netboot: $(BUILD)/bulkhead.elf $(BUILD)/mgmt.elf $(GUEST_IMAGES) $(BUILD)/config-check
	@$(PYTHON) test/tools/mknetboot.py --build $(BUILD) --config '$(CONFIG)' --out $(NETBOOT)

# One at a time in a build directory: a second run would write the ISO that the first has in its drive.
run: $(if $(filter kvm qemu,$(MACHINE)),deps-qemu,deps-run) $(if $(filter uefi,$(FIRMWARE)),deps-uefi)
	@mkdir -p $(BUILD)
	@flock --nonblock --conflict-exit-code 9 $(BUILD)/run.lock $(MAKE) --no-print-directory run-locked; status=$$?; \
	    [ $$status != 9 ] || echo "run: another \`make run\` uses $(BUILD)/; end it, or give this one its own: make run BUILD=build/second PORT=8081 HTTPS_PORT=8444"; exit $$status

RUN := $(PYTHON) test/tools/run.py --build $(BUILD) --iso $(BUILD)/run.iso --cpus $(CPUS) --memory $(MEM) --port $(PORT) --https-port $(HTTPS_PORT) --machine $(MACHINE) --firmware $(FIRMWARE)
run-locked:
	@$(RUN) --check
	@$(MAKE) --no-print-directory iso CONFIG='$(CONFIG)' OUT=$(BUILD)/run.iso FORWARDED_PORT=$(HTTPS_PORT)
	@$(RUN)

config-check: $(BUILD)/config-check $(GUEST_IMAGES)
	@$(BUILD)/config-check --search $(BUILD) '$(CONFIG)'

# ---- tests ----

include test/test.mk

clean:
	rm -rf $(BUILD)

# Not part of `make test`: it needs root, a mirror and half an hour.
fresh:
	@test/tools/fresh.sh "$(SUITE)" $(if $(FULL),full)

distclean: clean
	rm -rf third_party

-include $(KERNEL_D) $(HOST_O:.o=.d)

## make run            build, boot in an emulator with the sample guests, print the address
##                     CPUS=4 MEM=512 PORT=8080 HTTPS_PORT=8443 MACHINE=auto|bochs|kvm|qemu FIRMWARE=bios|uefi CONFIG=iso/guests.json
## make iso            write build/bulkhead.iso (BIOS and UEFI, CD and USB stick)
##                     CONFIG=their/guests.json OUT=their.iso packs your own guests
## make netboot        write build/netboot/ for a TFTP or HTTP server: PXE on BIOS and UEFI, UEFI HTTP boot
##                     CONFIG=their/guests.json NETBOOT=their/directory
## make config-check   check a configuration and its images: CONFIG=their/guests.json
## make vmcsdump       build/vmcsdump: explains saved VMCSs, raw regions and single values
## make bhctl          build/bhctl: the command-line client, see mgmt/bhctl/bhctl.1
## make sdk            build/bulkhead-sdk.tar.gz: headers, linker script and samples for guests of your own
## make test           everything: lint, unit tests, fuzzers (short), boot tests
## make unit           host unit tests under ASan and UBSan, with gcc and clang
## make fuzz           fuzzers for SECONDS=600 each; make fuzz-short for a few seconds each
## make boot-test      boot tests in Bochs and QEMU; ARGS="-k deploy" for some of them
## make bench          costs in Bochs; UPDATE=1 writes them into mgmt/MANUAL.md
## make bench-boots    which exits a boot of Debian's cloud kernels causes; UPDATE=1 updates the manual's table
## make bench-linux    what Debian's cloud kernel pays for being a guest, in two models of Bochs: MODELS=ryzen for one, UPDATE=1 updates the manual's table
## make bench-peers    the same guest under KVM, in the same emulator, for comparison
## make systems        boot other people's systems in guests, in QEMU: test/systems/systems.toml; MACHINE=bochs, ONLY=nuttx,debian12-cloud:2 for some of them,
##                     UPDATE=1 updates the manual's table, SYSTEMS_IMAGES=their/directory for images that you built
## make clients-page   axe-core looks at every view of the page; takes it from the npm registry
## make clients        other people's clients and checkers with the API: axios, a generated client, redocly, spectral, promtool, and REQUESTS=10000 requests made
##                     from its description; then clients-page; ONLY=axios,requests for some of them; npm packages are pinned in test/clients/package-lock.json
## make slurm          Slurm places jobs on two appliances, and one is killed; skipped where Slurm is not installed
## make check          lint, warnings (gcc and clang), clang-tidy, cppcheck
## make lint           formatting, layer rules, documents made from tables, circles between built files: takes seconds
## make documents      write the parts of documents that come from the tables
## make lines          the number of code lines in the root, by folder
## make coverage       the share of the lines of hv/ and arch/x86/guest/ that unit tests reach, by file
## make reproducible   two builds, in two places, give the same bytes
## make fresh SUITE=bookworm|trixie|testing
##                     `make run`, unit tests and a boot test in a new root of that Debian; FULL=1: `make test`
## make third-party-pins  the versions in Debian's archive now, for mgmt/third_party.pins
## make clean          remove build/; make distclean: and the fetched third_party/
## Each takes V=1: show the whole commands
