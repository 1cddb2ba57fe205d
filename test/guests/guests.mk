# The sample guests: build/guests/*.elf and flat.bin.

GUEST_NAMES := apic control cr echo hog memory bench isolation net events registers pages standin disk wire strings hostile usurper unclaimed smp ticks virtio transports segments shared
GUEST_IMAGES := $(GUEST_NAMES:%=$(BUILD)/guests/%.elf) $(BUILD)/guests/flat.bin $(BUILD)/guests/tasks.elf
GUEST_COMMON := $(BUILD)/guests/start.asm.o $(BUILD)/guests/pvh.asm.o $(BUILD)/guests/test/guests/lib/guest.o $(BUILD)/guests/test/guests/lib/apic.o $(BUILD)/guests/mgmt/pc/pc.o \
        $(BUILD)/guests/hv/fmt.o $(BUILD)/guests/hv/lib.o

GUEST_IMAGES += $(BUILD)/guests/mach_task.elf

guests: $(GUEST_IMAGES)

$(BUILD)/guests/%.o: %.c Makefile test/guests/guests.mk | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(FREESTANDING) $(WARN) -fno-stack-protector -c $< $(out_d)

$(BUILD)/guests/start.asm.o: mgmt/pc/start.asm | deps-build
	$(call say,NASM)
	$(Q)$(NASM) -f elf64 $< $(out)

$(BUILD)/guests/pvh.asm.o: test/guests/lib/pvh.asm | deps-build
	$(call say,NASM)
	$(Q)$(NASM) -f elf64 $< $(out)

$(BUILD)/guests/%.elf: $(BUILD)/guests/test/guests/%.o $(GUEST_COMMON) test/guests/lib/guest.lds
	$(call say,LD)
	$(Q)ld -n -nostdlib -z noexecstack --no-warn-rwx-segments --strip-all -T test/guests/lib/guest.lds $< $(GUEST_COMMON) $(GUEST_EXTRA) $(out)

# These two stand in for the management guest, and use its code to make the guests of the configuration.
GUEST_BOOT := mgmt/boot mgmt/deploy hv/guest_config hv/options mgmt/offer mgmt/admission $(patsubst %.c,%,$(wildcard mgmt/config/*.c mgmt/load/*.c))
GUEST_BOOT_O := $(BUILD)/guests/test/guests/lib/boot.o $(GUEST_BOOT:%=$(BUILD)/mgmt/%.o)
$(BUILD)/guests/standin.elf $(BUILD)/guests/usurper.elf: GUEST_EXTRA := $(GUEST_BOOT_O)
$(BUILD)/guests/standin.elf $(BUILD)/guests/usurper.elf: $(GUEST_BOOT_O)
$(BUILD)/guests/test/guests/lib/boot.o: FREESTANDING := $(filter-out -MMD,$(MGMT_CFLAGS)) -MD

$(BUILD)/guests/flat.bin: test/guests/flat.asm | deps-build
	$(call say,NASM)
	$(Q)$(NASM) -f bin $< $(out)

# A program that a guest's kernel starts, where that kernel puts programs.
$(BUILD)/guests/mach_task.elf: test/guests/mach_task.asm | deps-build
	$(call say,NASM)
	$(Q)$(NASM) -f elf64 $< -o $@.o && ld -Ttext=0x400000 -z noexecstack --strip-all $@.o $(out)

# 32-bit code, without the library.
$(BUILD)/guests/test/guests/tasks.o: FREESTANDING := -m32 $(filter-out -mcmodel=% -mno-red-zone,$(FREESTANDING))
$(BUILD)/guests/tasks.elf: $(BUILD)/guests/test/guests/tasks.o test/guests/lib/guest.lds
	$(call say,LD)
	$(Q)ld -n -m elf_i386 --oformat elf32-i386 -nostdlib -z noexecstack --no-warn-rwx-segments --strip-all -T test/guests/lib/guest.lds $< $(out)

-include $(BUILD)/guests/test/guests/tasks.d $(GUEST_NAMES:%=$(BUILD)/guests/test/guests/%.d) $(BUILD)/guests/test/guests/lib/guest.d $(BUILD)/guests/test/guests/lib/apic.d $(BUILD)/guests/test/guests/lib/boot.d $(BUILD)/guests/mgmt/pc/pc.d
