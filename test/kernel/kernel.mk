# A kernel that tries VM entries, for test/boot/test_entry_check.py: build/trials.elf, which takes the place of bulkhead.elf.

TRIALS_C := test/kernel/trials.c test/kernel/trial_file.c arch/x86/inspect/decode_fields.c $(ENTRY_CHECK_C)
VMRUN_TRIALS_O := $(SVM_O) $(SVM_GUEST_O) $(BUILD)/kernel/test/kernel/vmrun_trials.o
TRIALS_O := $(VMX_O) $(BUILD)/kernel/svm_trials.o $(TRIALS_C:%.c=$(BUILD)/kernel/%.o)

$(BUILD)/gen/entry_trials.txt: test/entry_rules.json test/tools/entry_trials.py arch/x86/inspect/fields.def
	@mkdir -p $(@D)
	@$(PYTHON) test/tools/entry_trials.py > $@.new && mv -f $@.new $@

# The compiler cannot see that the assembler reads this file.
$(BUILD)/kernel/test/kernel/trials.o: $(BUILD)/gen/entry_trials.txt
$(BUILD)/kernel/test/kernel/trials.o: KERNEL_CFLAGS += -Wa,-I$(BUILD)/gen

# With the trials inside, as svm.o has only its struct virt_ops for others.
$(BUILD)/kernel/test/kernel/vmrun_trials.o: KERNEL_CFLAGS += $(SVM_STATE)
$(BUILD)/kernel/svm_trials.o: $(VMRUN_TRIALS_O) $(BUILD)/gen/VMRUN_TRIALS_O.list
	$(call say,LD)
	$(Q)ld -r -z noexecstack -o $@.whole $(VMRUN_TRIALS_O) && objcopy --keep-global-symbol=svm_ops --keep-global-symbol=vmrun_trials $@.whole $@.new && mv -f $@.new $@ && rm $@.whole

$(BUILD)/trials.elf: $(TRIALS_O) arch/x86/kernel.lds $(BUILD)/gen/TRIALS_O.list
	$(call say,LD,$@)
	$(Q)$(call link_kernel,$(TRIALS_O))

# A kernel that only drives the network card, for test/boot/test_nic.py: build/nic_trial.elf.
NIC_TRIAL_O := $(filter-out $(BUILD)/kernel/hv/main.o,$(KERNEL_O)) $(BUILD)/kernel/test/kernel/nic_trial.o

$(BUILD)/nic_trial.elf: $(NIC_TRIAL_O) arch/x86/kernel.lds $(BUILD)/gen/NIC_TRIAL_O.list
	$(call say,LD,$@)
	$(Q)$(call link_kernel,$(NIC_TRIAL_O))

-include $(BUILD)/kernel/test/kernel/nic_trial.d
-include $(BUILD)/kernel/test/kernel/vmrun_trials.d
-include $(TRIALS_C:%.c=$(BUILD)/kernel/%.d)
