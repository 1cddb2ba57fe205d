/*
 * Runs one of our sample guests under KVM, so that `make bench-peers` can measure the same binary
 * there: kvm IMAGE VCPUS [CMDLINE]. The guest gets KVM's own APICs, PIC and PIT
 * (KVM_CREATE_IRQCHIP), a UART that only sends, and the exit port. Linux,
 * Documentation/virt/kvm/api.rst; Multiboot2 Specification "I386 machine state". Errors end the
 * program.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMORY      (64u << 20)
#define INFORMATION 0x9000u /* the multiboot2 information */
#define MB2_MAGIC   0x36d76289u
#define TSC_HZ      20000000u /* Bochs's ips: its CPUID has another figure */
#define VCPUS_MAX   8u
#define CPUIDS_MAX  100
#define DEADLINE    (1u << 24) /* CPUID 1, ECX: the local APIC's timer has TSC-deadline mode */

#define UART_FIRST  0x3f8u
#define UART_LSR    0x3fdu
#define EXIT_PORT   0xf4u

static uint8_t *memory;
static int kvm, vm;

static int must(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
    return result;
}

/* Copies what the ELF file has for memory, and returns its entry. */
static uint32_t load(const char *path)
{
    static uint8_t file[4u << 20];
    const Elf64_Ehdr *e = (const Elf64_Ehdr *)file;
    int fd = must(open(path, O_RDONLY), path);
    ssize_t size = read(fd, file, sizeof(file));

    if (size < (ssize_t)sizeof(*e) || memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 ||
        e->e_phoff + (uint64_t)e->e_phnum * sizeof(Elf64_Phdr) > (uint64_t)size)
        errx(1, "%s: not an ELF file", path);
    for (unsigned i = 0; i < e->e_phnum; i++) {
        const Elf64_Phdr *p = (const Elf64_Phdr *)(file + e->e_phoff) + i;

        if (p->p_type != PT_LOAD)
            continue;
        if (p->p_paddr + p->p_memsz > MEMORY || p->p_offset + p->p_filesz > (uint64_t)size)
            errx(1, "%s: does not fit", path);
        memcpy(memory + p->p_paddr, file + p->p_offset, p->p_filesz);
    }
    close(fd);
    return (uint32_t)e->e_entry;
}

#define CMDLINE_MAX 64u

/* The command line, and the end. */
static void write_information(const char *cmdline)
{
    struct {
        uint32_t size, reserved;
        uint32_t type, tag_size;
        char text[CMDLINE_MAX];
        uint32_t end, end_size;
    } info = {sizeof(info), 0, 1, 8, "", 0, 8};
    size_t length = strlen(cmdline);

    if (length >= CMDLINE_MAX)
        errx(2, "the command line is too long");
    info.tag_size += CMDLINE_MAX;
    memcpy(info.text, cmdline, length + 1);
    memcpy(memory + INFORMATION, &info, sizeof(info));
}

static void make_vm(void)
{
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    struct kvm_userspace_memory_region region = {.memory_size = MEMORY};
    uint64_t identity = 0xfeffc000;

    kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
    vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    must(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity), "KVM_SET_IDENTITY_MAP_ADDR");
    must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfeffd000), "KVM_SET_TSS_ADDR");
    must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
    must(ioctl(vm, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2");
    memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                  -1, 0);
    if (memory == MAP_FAILED)
        err(1, "memory");
    region.userspace_addr = (uintptr_t)memory;
    must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void set_cpuid(int vcpu, unsigned number)
{
    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[CPUIDS_MAX];
    } c;

    /* It leaves out the deadline mode, without which KVM ignores deadlines. */
    c.head.nent = CPUIDS_MAX;
    must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &c), "KVM_GET_SUPPORTED_CPUID");
    for (unsigned i = 0; i < c.head.nent; i++) {
        struct kvm_cpuid_entry2 *e = &c.entries[i];

        if (e->function == 1) {
            e->ebx = (e->ebx & 0xffffffu) | number << 24;
            e->ecx |= DEADLINE;
        } else if (e->function == 0xb) {
            e->edx = number;
        } else if (e->function == 0x15) {
            *e = (struct kvm_cpuid_entry2){.function = 0x15, .eax = 1, .ebx = 1, .ecx = TSC_HZ};
        }
    }
    must(ioctl(vcpu, KVM_SET_CPUID2, &c), "KVM_SET_CPUID2");
}

/* Multiboot2's machine state: 32-bit protected mode, flat segments, no paging. */
static void set_state(int vcpu, uint32_t entry)
{
    struct kvm_regs r = {.rax = MB2_MAGIC, .rbx = INFORMATION, .rip = entry, .rflags = 2};
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1};
    struct kvm_segment data = code;
    struct kvm_sregs s;

    data.selector = 16;
    data.type = 3;
    must(ioctl(vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
    s.cs = code;
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.cr0 |= 1;
    must(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
    must(ioctl(vcpu, KVM_SET_REGS, &r), "KVM_SET_REGS");
}

static void serve_port(struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned port = run->io.port;

    if (run->io.direction == KVM_EXIT_IO_IN) {
        memset(data, port == UART_LSR ? 0x60 : 0xff, run->io.size);
    } else if (port == UART_FIRST) {
        putchar(*data);
        if (*data == '\n')
            fflush(stdout);
    } else if (port == EXIT_PORT) {
        fflush(stdout);
        _exit(*data);
    }
}

struct vcpu {
    pthread_t thread;
    struct kvm_run *run;
    int fd;
    unsigned number;
};

/* A thread for each vCPU, on a CPU of its own as long as there are enough. */
static void *run_vcpu(void *arg)
{
    struct vcpu *v = arg;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(v->number % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
    must(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
    for (;;) {
        int rc = ioctl(v->fd, KVM_RUN, 0);

        if (rc < 0 && errno == EAGAIN) /* INIT or SIPI came for a vCPU that waited for it */
            continue;
        must(rc, "KVM_RUN");
        if (v->run->exit_reason == KVM_EXIT_IO)
            serve_port(v->run);
        else
            errx(1, "vCPU %u: exit %u", v->number, v->run->exit_reason);
    }
}

static void make_vcpu(struct vcpu *v, unsigned number, uint32_t entry)
{
    int size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");

    v->number = number;
    v->fd = must(ioctl(vm, KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU");
    v->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (v->run == MAP_FAILED)
        err(1, "vCPU");
    set_cpuid(v->fd, number);
    if (number == 0)
        set_state(v->fd, entry); /* the others wait for INIT and SIPI */
}

int main(int argc, char **argv)
{
    static struct vcpu vcpus[VCPUS_MAX];
    unsigned n = argc == 3 || argc == 4 ? (unsigned)atoi(argv[2]) : 0;
    uint32_t entry;

    if (n < 1 || n > VCPUS_MAX)
        errx(2, "usage: kvm IMAGE VCPUS [CMDLINE]");
    make_vm();
    entry = load(argv[1]);
    write_information(argc == 4 ? argv[3] : "");
    for (unsigned i = 0; i < n; i++)
        make_vcpu(&vcpus[i], i, entry);
    for (unsigned i = 0; i < n; i++)
        if (pthread_create(&vcpus[i].thread, NULL, run_vcpu, &vcpus[i]) != 0)
            errx(1, "a thread cannot be made");
    pthread_join(vcpus[0].thread, NULL);
    return 0;
}
