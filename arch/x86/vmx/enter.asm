; Into the guest and back: SDM 3C "VM Entries", "VM Exits".
;
; uint32_t vmx_enter(struct vcpu *v);
;   RDI = the vCPU; its general registers (the first member) are loaded before and stored after.
;   Enters, handles exits and enters again, until an exit needs more than that. Returns its enum exit_action, VMX_EXIT_UNUSUAL for an exit
;   without a handler (its reason is in the record), VMX_ENTER_FAILED if VMLAUNCH or VMRESUME itself failed (the VM-instruction error says why).
;   Needs: the vCPU's VMCS current, HOST_RIP = the vmx_exit_point that this CPU needs, vmx_vcpu.timer_end set, interrupts off.
;   Preserves the callee-saved registers; no other register keeps a value of the guest.
;
; While a guest runs the stack holds: the vCPU, then the root's callee-saved registers. Handlers are called on top of them.
; Between an exit and an entry RDI is the vCPU and RSI the exit's record; RAX, RCX and RDX are free. "Not above" (CF or ZF) means that VMREAD or VMWRITE failed.

%include "offsets.inc"
%include "arch/x86/guest/enter.inc"

section .text
bits 64
global vmx_enter, vmx_exit_point, vmx_exit_point_returns, vmx_exit_point_return
extern vmx_exit_handlers, x86_end_of_instruction, x86_deadline_came, vmx_broken

; The preemption timer stops in root operation, so each entry sets it from an absolute time; one that has already passed ends the entry at once. Code from
; here to the entry makes the timer late. RAX = now.
%macro SET_TIMER 0
    mov rcx, [rdi + VCPU_BACKEND]
    NOW
    mov rdx, [rcx + X_TIMER_END]
    mov ecx, [rcx + X_TIMER_SHIFT]
    sub rdx, rax
    jae %%later
    xor edx, edx
%%later:
    shr rdx, cl
    mov ecx, VMCS_VMX_PREEMPTION_TIMER_VALUE
    vmwrite rcx, rdx
    jna broken
%endmacro

; The next place in the flight recorder, whose ring is aligned to twice its size; counters. ECX = reason; the parameter is its row in the counters.
; `make bench` measures the recorder against a kernel without it. Handlers need what is in the record in either case.
%macro RECORD 1
    mov rsi, [rdi + VCPU_EXIT]
%ifndef VMX_UNRECORDED
    add rsi, EXIT_SIZE
    btr rsi, EXITS_WRAP_BIT
    mov [rdi + VCPU_EXIT], rsi
    mov rax, [rdi + VCPU_STATS]
    inc qword [rax + STATS_ENTRIES]
    inc qword [rax + STATS_EXITS + %1 * 8]
%endif
    mov [rsi + EXIT_REASON], ecx
    mov eax, VMCS_GUEST_RIP
    vmread [rsi + EXIT_RIP], rax
    jna broken
%endmacro

; The end of this instruction needs more work: it was in a shadow of STI or MOV SS, TF requires a trap, RF ends with it, or vcpu_watch_ends() requested it.
%macro IF_UNUSUAL_END 1
    mov eax, VMCS_GUEST_INTERRUPTIBILITY_STATE
    vmread rdx, rax
    jna broken
    test edx, BLOCKING_BY_STI_OR_MOV_SS
    jnz %1
    mov eax, VMCS_GUEST_RFLAGS
    vmread rdx, rax
    jna broken
    test [rdi + VCPU_END_FLAGS], edx
    jnz %1
%endmacro

; RCX = the instruction's length, as the CPU reports it.
%macro READ_LENGTH 0
    mov eax, VMCS_VM_EXIT_INSTRUCTION_LENGTH
    vmread rcx, rax
    jna broken
%endmacro

; The instruction, RCX bytes long, is done. Nothing else moves a guest's RIP.
%macro SKIP_LENGTH 0
    mov [rsi + EXIT_LENGTH], rcx
    add rcx, [rsi + EXIT_RIP]
    mov eax, VMCS_GUEST_RIP
    vmwrite rax, rcx
    jna broken
%endmacro
%macro SKIP 0
    READ_LENGTH
    SKIP_LENGTH
%endmacro

; With VMLAUNCH or VMRESUME. If execution continues after it, it failed.
%macro ENTER 1
    EACH_OTHER LOAD
    SET_TIMER
    mov [rsi + EXIT_ENTRY_TSC], rax     ; the guest continues after its last exit
    LOAD rax, GPR_RAX
    LOAD rcx, GPR_RCX
    LOAD rdx, GPR_RDX
    LOAD rsi, GPR_RSI
    LOAD rdi, GPR_RDI
    %1
%endmacro

; All of CPUID but the answer, or goes to the parameter with ECX = reason. RDX = the leaf.
%macro CPUID_DONE 1
    cmp dword [rdi + VCPU_REQUESTS], 0
    jne %1
    IF_UNUSUAL_END %1
    RECORD rcx
    SKIP
    SET_TIMER
    mov [rsi + EXIT_TSC], rax
    mov [rsi + EXIT_ENTRY_TSC], rax
    mov qword [rsi + EXIT_QUALIFICATION], 0
    mov dword [rsi + EXIT_OUTCOME], OUTCOME_SKIP
    mov rdx, [rdi + GPR_RAX]
    mov [rsi + EXIT_DETAIL], rdx
%endmacro

align 16
vmx_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov rax, [rdi + VCPU_BACKEND]
    mov rsi, [rdi + VCPU_EXIT]
    cmp rsp, [rax + X_HOST_RSP]
    jne other_stack
enter:
    ENTER vmresume
failed:
    mov rdi, [rsp]
    EACH_OTHER STORE                    ; the others are untouched
    mov eax, VMX_ENTER_FAILED
    jmp cleared_to_caller

; The first entry, or a different stack depth than last time.
other_stack:
    mov [rax + X_HOST_RSP], rsp
    mov ecx, VMCS_HOST_RSP
    vmwrite rcx, rsp
    jna broken
    cmp byte [rax + X_LAUNCHED], 1
    mov byte [rax + X_LAUNCHED], 1
    je enter
    ENTER vmlaunch
    jmp failed

; The return predictor may have what the guest left: calls that never return make its entries lead nowhere. Each CPU's HOST_RIP is the one that it needs.
; Intel, "Retpoline: A Branch Target Injection Mitigation", "Post-barrier Return Stack Buffer Predictions".
RETURN_ENTRIES equ 32
%macro FILL_RETURNS 1
%rep %1
    call $ + 6
    int3
%endrep
    add rsp, 8 * %1
    lfence
    jmp vmx_exit_point
%endmacro
align 16
vmx_exit_point_returns:
    FILL_RETURNS RETURN_ENTRIES
align 16
vmx_exit_point_return:
    FILL_RETURNS 1

align 16
vmx_exit_point:
    push rdi
    mov rdi, [rsp + 8]
    pop qword [rdi + GPR_RDI]
    STORE rax, GPR_RAX
    STORE rcx, GPR_RCX
    STORE rdx, GPR_RDX
    STORE rsi, GPR_RSI
    mov ecx, VMCS_EXIT_REASON
    vmread rcx, rcx
    jna broken
    cmp ecx, VMX_EXIT_CPUID
    jne .not_cpuid

; CPUID is by far the commonest exit of some guests, and it needs only a table: it is handled here unless something is due or unusual.
    cmp eax, CPUID_BASIC_MAX
    ja .known
    mov rdx, [rdi + VCPU_BACKEND]
    bt dword [rdx + X_CPUID_PLAIN], eax ; leaves whose subleaves differ are not plain
    jnc .cache
    CPUID_DONE .known
    shl edx, 4
.answer:
    add rdx, [rdi + VCPU_BACKEND]
    mov eax, [rdx + X_CPUID_BASIC]
    mov ebx, [rdx + X_CPUID_BASIC + 4]
    mov ecx, [rdx + X_CPUID_BASIC + 8]
    mov edx, [rdx + X_CPUID_BASIC + 12]
    LOAD rsi, GPR_RSI
    LOAD rdi, GPR_RDI
    vmresume
    jmp failed

; A new process may look at each cache several times.
.cache:
    cmp eax, CPUID_CACHE
    jne .known
    cmp dword [rdi + GPR_RCX], CPUID_CACHE_LEVELS
    jae .known
    CPUID_DONE .known
    mov edx, [rdi + GPR_RCX]
    shl edx, 4
    add edx, X_CPUID_CACHE - X_CPUID_BASIC
    jmp .answer

.not_cpuid:
    cmp ecx, EXIT_REASONS
    jae unusual
.known:
    RECORD rcx
    cmp ecx, VMX_EXIT_IO_INSTRUCTION
    je io
    cmp ecx, VMX_EXIT_PREEMPTION_TIMER
    je time_is_over

; All others have a handler in C.
general:
    mov qword [rsi + EXIT_QUALIFICATION], 0
.qualified:
    mov qword [rsi + EXIT_DETAIL], 0
    NOW
    mov [rsi + EXIT_TSC], rax
    mov rax, [vmx_exit_handlers + rcx * 8]
    EACH_OTHER STORE
    CLEAR
    call rax
    mov rdi, [rsp]
    mov rsi, [rdi + VCPU_EXIT]
    mov [rsi + EXIT_OUTCOME], eax
    lea edx, [rax - OUTCOME_SKIP]
    cmp edx, OUTCOME_HALT - OUTCOME_SKIP ; SKIP, DONE, HALT
    ja stay
    READ_LENGTH
skip_length:
    SKIP_LENGTH
    IF_UNUSUAL_END unusual_end
    cmp dword [rsi + EXIT_OUTCOME], OUTCOME_SKIP
    jne leave
    cmp dword [rdi + VCPU_REQUESTS], 0
    je enter
    jmp leave

; The handler has found the length itself, or RIP stays.
stay:
    sub eax, DECODED
    jb .stay
    mov [rsi + EXIT_OUTCOME], eax
    mov rcx, [rsi + EXIT_LENGTH]
    jmp skip_length
.stay:
    mov qword [rsi + EXIT_LENGTH], 0
leave:
    mov eax, [rsi + EXIT_OUTCOME]
to_caller:
    pop rdi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

; OUT of a byte to a port below IO_DIRECT that no device has claimed: nothing happens.
io:
    mov eax, VMCS_EXIT_QUALIFICATION
    vmread rdx, rax
    jna broken
    mov [rsi + EXIT_QUALIFICATION], rdx
    test dl, IO_IN | IO_STRING | IO_SIZE_MASK ; more than a byte may reach a device's ports
    jnz general.qualified
    shr edx, IO_PORT_SHIFT
    cmp edx, IO_DIRECT
    jae general.qualified
    mov rax, [rdi + VCPU_PLATFORM]
    cmp byte [rax + PLATFORM_PORTS + rdx], 0
    jne general.qualified
    cmp dword [rdi + VCPU_REQUESTS], 0
    jne general.qualified
    IF_UNUSUAL_END general.qualified
    SKIP
    mov qword [rsi + EXIT_DETAIL], 0
    mov dword [rsi + EXIT_OUTCOME], OUTCOME_SKIP
    SET_TIMER
    mov [rsi + EXIT_TSC], rax
    mov [rsi + EXIT_ENTRY_TSC], rax
    LOAD rax, GPR_RAX
    LOAD rcx, GPR_RCX
    LOAD rdx, GPR_RDX
    LOAD rsi, GPR_RSI
    LOAD rdi, GPR_RDI
    vmresume
    jmp failed

unusual_end:
    call x86_end_of_instruction
    mov rdi, [rsp]
    mov rsi, [rdi + VCPU_EXIT]
    jmp leave

; The tick of most kernels needs no more than x86_deadline_came(). Otherwise the code that set the timer knows why. What wakes a guest in HLT was prepared.
time_is_over:
    NOW
    mov [rsi + EXIT_TSC], rax
%if OUTCOME_RESUME != 0
    %error "EAX is the result and 0"
%endif
    xor eax, eax
    mov [rsi + EXIT_OUTCOME], eax
    mov [rsi + EXIT_QUALIFICATION], rax
    mov [rsi + EXIT_DETAIL], rax
    mov [rsi + EXIT_LENGTH], rax
    EACH_OTHER STORE
    cmp byte [rdi + VCPU_HALTED], 0
    jne cleared_to_caller
    CLEAR
    call x86_deadline_came
    mov rdi, [rsp]
    mov rsi, [rdi + VCPU_EXIT]
    test al, al
    jz leave
    cmp dword [rdi + VCPU_REQUESTS], 0
    je enter
    jmp leave

; A failed entry, or a reason without a row. ECX = reason.
unusual:
    movzx edx, cx
    mov eax, EXIT_REASONS - 1
    cmp edx, eax
    cmova edx, eax
    RECORD rdx
    NOW
    mov [rsi + EXIT_TSC], rax
    xor eax, eax
    mov [rsi + EXIT_QUALIFICATION], rax
    mov [rsi + EXIT_DETAIL], rax
    mov [rsi + EXIT_LENGTH], rax
    EACH_OTHER STORE
    mov eax, VMX_EXIT_UNUSUAL
; Returns EAX to the caller; the guest's other registers are stored.
cleared_to_caller:
    CLEAR_SCRATCH
    xor esi, esi
    jmp to_caller

; _Noreturn void vmx_broken(void): VMREAD or VMWRITE of an existing field has failed.
broken:
    CLEAR
    call vmx_broken
