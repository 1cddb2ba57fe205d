; Into the guest and back: APM vol. 2 "VMRUN Instruction", "#VMEXIT".
;
; uint32_t svm_enter(struct vcpu *v);
;   RDI = the vCPU; its general registers (the first member) are loaded before and stored after.
;   Enters, handles exits and enters again, until an exit needs more than that. Returns its enum exit_action.
;   Needs: the vCPU's lazy registers loaded, the timer set, interrupts off.
;   Preserves the callee-saved registers; no other register keeps a value of the guest.
;
; While a guest runs the stack holds: the vCPU, then the root's callee-saved registers. Handlers are called on top of them.
; Between an exit and an entry RDI is the vCPU, RSI the exit's record, RDX the VMCB; RAX and RCX are free.
;
; GIF is 0 from before VMRUN until the root has its own FS, GS, TR and so on back: nothing interrupts it in between. IF is 1 there, so that a physical interrupt ends
; the guest on every CPU. The instruction behind STI is not VMRUN: its shadow would reach into the guest (QEMU 7.2).

%include "svm_offsets.inc"
%include "arch/x86/guest/enter.inc"

section .text
bits 64
global svm_enter
extern svm_keep_entered, x86_end_of_instruction

%macro GET_VMCB 0
    mov rdx, [rdi + VCPU_BACKEND]
    mov rdx, [rdx + X_VMCB]
%endmacro

; The next place in the flight recorder, whose ring is aligned to twice its size; counters. RCX = the exit's row.
%macro RECORD 0
    mov rsi, [rdi + VCPU_EXIT]
%ifndef VMX_UNRECORDED
    add rsi, EXIT_SIZE
    btr rsi, EXITS_WRAP_BIT
    mov [rdi + VCPU_EXIT], rsi
    mov rax, [rdi + VCPU_STATS]
    inc qword [rax + STATS_ENTRIES]
    inc qword [rax + STATS_EXITS + rcx * 8]
%endif
    mov eax, [rdx + VMCB_EXITCODE]
    mov [rsi + EXIT_REASON], eax
    mov rax, [rdx + VMCB_RIP]
    mov [rsi + EXIT_RIP], rax
%endmacro

; The end of this instruction needs more work: it was in a shadow of STI or MOV SS, TF requires a trap, RF ends with it, or vcpu_watch_ends() requested it.
%macro IF_UNUSUAL_END 1
    test byte [rdx + VMCB_SHADOW], 1
    jnz %1
    mov eax, [rdx + VMCB_RFLAGS]
    test [rdi + VCPU_END_FLAGS], eax
    jnz %1
%endmacro

; The instruction is done: RAX = the RIP behind it. Nothing else moves a guest's RIP.
%macro SKIP 0
    mov [rdx + VMCB_RIP], rax
    sub rax, [rsi + EXIT_RIP]
    mov [rsi + EXIT_LENGTH], rax
%endmacro

; From the record RSI and the VMCB RDX back into the guest, with all but FS, GS and what else VMLOAD loads as the exit left it.
%macro REENTER 0
    NOW
    mov [rsi + EXIT_TSC], rax
    mov [rsi + EXIT_ENTRY_TSC], rax
    mov rax, [rdi + VCPU_BACKEND]
    mov rax, [rax + X_VMCB]
    LOAD rcx, GPR_RCX
    LOAD rdx, GPR_RDX
    LOAD rsi, GPR_RSI
    LOAD rdi, GPR_RDI
    jmp run
%endmacro

align 16
svm_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov rsi, [rdi + VCPU_EXIT]
enter:
    mov rax, [rdi + VCPU_BACKEND]
    cmp byte [rax + X_CHANGED], 0
    jne changed
    EACH_OTHER LOAD
    NOW
    mov [rsi + EXIT_ENTRY_TSC], rax     ; the guest continues after its last exit
    mov rax, [rdi + VCPU_BACKEND]
    mov rax, [rax + X_VMCB]
    LOAD rcx, GPR_RAX
    mov [rax + VMCB_RAX], rcx
    LOAD rcx, GPR_RCX
    LOAD rdx, GPR_RDX
    LOAD rsi, GPR_RSI
    LOAD rdi, GPR_RDI
    clgi
    sti
    vmload
run:
    vmrun

; RAX is the VMCB, RSP is ours; all others are the guest's, whose RAX is in the VMCB.
    push rdi
    mov rdi, [rsp + 8]
    pop qword [rdi + GPR_RDI]
    STORE rcx, GPR_RCX
    STORE rdx, GPR_RDX
    STORE rsi, GPR_RSI
    mov rdx, rax
    mov rax, [rdx + VMCB_RAX]
    STORE rax, GPR_RAX
    mov ecx, [rdx + VMCB_EXITCODE]
    mov qword [rdx + VMCB_EVENTINJ], 0  ; it is delivered, or in EXITINTINFO
    mov byte [rdx + VMCB_TLB_CONTROL], 0
    cmp ecx, SVM_EXIT_CPUID
    jne .not_cpuid

; CPUID is by far the commonest exit of some guests, and it needs only a table: it is handled here unless something is due or unusual.
    cmp eax, CPUID_BASIC_MAX
    ja known
    mov rsi, [rdi + VCPU_BACKEND]
    bt dword [rsi + X_CPUID_PLAIN], eax ; leaves whose subleaves differ are not plain
    jnc known
    cmp byte [rsi + X_NRIPS], 0
    je known
    cmp dword [rdi + VCPU_REQUESTS], 0
    jne known
    IF_UNUSUAL_END known
    RECORD
    mov rax, [rdx + VMCB_NRIP]
    SKIP
    mov qword [rsi + EXIT_QUALIFICATION], 0
    mov dword [rsi + EXIT_OUTCOME], OUTCOME_SKIP
    mov rcx, [rdi + GPR_RAX]
    mov [rsi + EXIT_DETAIL], rcx
    NOW
    mov [rsi + EXIT_TSC], rax
    mov [rsi + EXIT_ENTRY_TSC], rax
    shl ecx, 4
    mov rax, [rdi + VCPU_BACKEND]
    add rcx, rax
    mov rax, [rax + X_VMCB]
    mov edx, [rcx + X_CPUID_BASIC]
    mov [rax + VMCB_RAX], rdx
    mov ebx, [rcx + X_CPUID_BASIC + 4]
    mov edx, [rcx + X_CPUID_BASIC + 12]
    mov ecx, [rcx + X_CPUID_BASIC + 8]
    LOAD rsi, GPR_RSI
    LOAD rdi, GPR_RDI
    jmp run

.not_cpuid:
    cmp ecx, ROWS_DIRECT
    jb known
    cmp ecx, SVM_EXIT_NPF
    mov ecx, ROW_NPF
    je known
    mov ecx, ROW_OTHER
known:
    RECORD
    cmp ecx, SVM_EXIT_IOIO
    je io

; All others have a handler in C.
general:
    mov qword [rsi + EXIT_QUALIFICATION], 0
.qualified:
    mov qword [rsi + EXIT_DETAIL], 0
    mov rax, rdx
    vmsave
    mov rdx, [rdi + VCPU_BACKEND]
    mov rax, [rdx + X_HOST]
    vmload
    cli
    stgi
    mov rax, [rdx + X_HANDLERS]
    mov rcx, [rax + rcx * 8]
    NOW
    mov [rsi + EXIT_TSC], rax
    mov rax, rcx
    EACH_OTHER STORE
    CLEAR
    call rax
    mov rdi, [rsp]
    mov rsi, [rdi + VCPU_EXIT]
    mov [rsi + EXIT_OUTCOME], eax
    GET_VMCB
    lea ecx, [rax - OUTCOME_SKIP]
    cmp ecx, OUTCOME_HALT - OUTCOME_SKIP ; SKIP, DONE, HALT
    ja stay
    mov rax, [rdx + VMCB_NRIP]
skip_to:
    SKIP
    IF_UNUSUAL_END unusual_end
    test byte [rdx + VMCB_VINTR + 1], 1 ; V_IRQ: Bochs does not look at it in an entry with IF=1, so look for events instead
    jnz leave
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
    mov rax, [rsi + EXIT_LENGTH]
    add rax, [rsi + EXIT_RIP]
    jmp skip_to
.stay:
    mov qword [rsi + EXIT_LENGTH], 0
leave:
    mov eax, [rsi + EXIT_OUTCOME]
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
    mov rcx, [rdx + VMCB_EXITINFO1]
    mov [rsi + EXIT_QUALIFICATION], rcx
    test ecx, IOIO_UNUSUAL              ; more than a byte may reach a device's ports
    jnz .handler
    shr ecx, IOIO_PORT_SHIFT
    cmp ecx, IO_DIRECT
    jae .handler
    mov rax, [rdi + VCPU_PLATFORM]
    cmp byte [rax + PLATFORM_PORTS + rcx], 0
    jne .handler
    cmp dword [rdi + VCPU_REQUESTS], 0
    jne .handler
    IF_UNUSUAL_END .handler
    mov rax, [rdx + VMCB_EXITINFO2]
    SKIP
    mov qword [rsi + EXIT_DETAIL], 0
    mov dword [rsi + EXIT_OUTCOME], OUTCOME_SKIP
    REENTER
.handler:
    mov ecx, SVM_EXIT_IOIO
    jmp general.qualified

; Old translations must go, and what is entered must not be lost if VMRUN refuses it.
changed:
    call svm_keep_entered
    mov rdi, [rsp]
    mov rsi, [rdi + VCPU_EXIT]
    jmp enter

unusual_end:
    call x86_end_of_instruction
    mov rdi, [rsp]
    mov rsi, [rdi + VCPU_EXIT]
    jmp leave
