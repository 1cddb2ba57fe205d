/*
 * Stands in for the management guest and misuses everything that it is trusted with, except that it
 * makes the guests of the configuration. Each life tries one thing and dies of it; the shared pages
 * hold the number of lives so far. The last life behaves.
 */
#include "hv/abi/deploy.h"
#include "test/guests/lib/guest.h"
#include "test/guests/lib/management.h"

#define MEMORY   (12ull << 20)
#define NOBODY   9u /* no guest of the test has this number */
#define VICTIM   4u
#define HEARTS   100000u
#define LINE_MAX 512u

static bool inside(uint64_t at, uint64_t length)
{
    return at <= MEMORY && length <= MEMORY - at;
}

/* The calls that must fail according to the contract. */
static bool must_fail(uint64_t f, uint64_t b, uint64_t c, uint64_t d)
{
    switch (f) {
    case ABI_CALL_VERSION:
    case ABI_CALL_HEARTBEAT:
    case ABI_CALL_ADDRESS:
    case ABI_CALL_CONFIGURED:
        return false;
    case ABI_CALL_SNAPSHOT:
        return b == NOBODY || b >= ABI_GUESTS_MAX || c >= ABI_VCPUS_MAX || d > 1;
    case ABI_CALL_CONSOLE_INPUT:
        return b == NOBODY || b >= ABI_GUESTS_MAX || !inside(c, d);
    case ABI_CALL_CONTROLS:
        return b == NOBODY || b >= ABI_GUESTS_MAX || c >= ABI_VCPUS_MAX ||
               !inside(d, sizeof(struct abi_controls));
    case ABI_CALL_PROBE:
        return b >= MEMORY - 1; /* there are fewer fields than that */
    case ABI_CALL_ACTION:
        return true; /* calls that could succeed are not tried */
    case ABI_CALL_KEEP:
        return c > ABI_KEEP_MAX || !inside(b, c);
    case ABI_CALL_LOG:
        return c > LINE_MAX || !inside(b, c);
    default:
        return true;
    }
}

/* Would stop, start or delete a guest, reset the machine, or make the log unreadable. */
static bool harmful(uint64_t f, uint64_t b, uint64_t c)
{
    return (f == ABI_CALL_ACTION && b < ABI_GUESTS_MAX && b != NOBODY && c >= ABI_ACTION_STOP &&
            c < ABI_ACTION_END) ||
           (f == ABI_CALL_LOG && c <= LINE_MAX && inside(b, c) && (b != 1 || c != 1)) ||
           (f == ABI_CALL_DELETE && b < ABI_GUESTS_MAX && b != NOBODY) || f == ABI_CALL_ADDRESS ||
           (f == ABI_CALL_HOST_ACTION && b == ABI_HOST_REBOOT);
}

static void try_calls(void)
{
    static const uint64_t values[] = {0,          1,          2,      NOBODY,     ABI_GUESTS_MAX,
                                      513,        MEMORY - 1, MEMORY, 0xd0000000, 1ull << 32,
                                      1ull << 63, UINT64_MAX};
    const size_t n = ARRAY_LEN(values);
    unsigned wrong = 0, done = 0;

    for (uint64_t f = ABI_CALL_VERSION - 1; f <= ABI_CALL_END; f++)
        for (size_t i = 0; i < n * n * n; i++) {
            uint64_t b = values[i % n], c = values[i / n % n], d = values[i / n / n];
            int64_t r;

            if (harmful(f, b, c))
                continue;
            r = call(f, b, c, d);
            done++;
            if (i % 64 == 0)
                heartbeat();
            if ((must_fail(f, b, c, d) && r >= 0) || r < -E_IO) {
                wrong++;
                say("standin: call 0x%lx (0x%lx, 0x%lx, 0x%lx) gives %ld: WRONG\n", f, b, c, d, r);
            }
        }
    say("standin: %u calls done, %u wrong, guest 1 %s\n", done, wrong,
        exists(1) ? "is there" : "is gone");
}

/* Memory for an image, whole: its slot. */
static int64_t take_image(const struct abi_image_request *r)
{
    int64_t slot = call(ABI_CALL_IMAGE_BEGIN, (uintptr_t)r, 0, 0), n = 0;

    while (slot >= 0 && n >= 0 && (uint64_t)n < r->size)
        n = call(ABI_CALL_IMAGE_EXTEND, (uint64_t)slot, 0, 0);
    return n < 0 ? n : slot;
}

/* The contents of one image must not be visible in the next, which gets the same memory. */
static void try_image_memory(void)
{
    static const struct abi_image_request r = {.name = "twice", .size = 3u << 20};
    static const uint8_t sha256[32];
    uint64_t found = 0;
    int64_t slot;

    for (unsigned round = 0; round < 2; round++) {
        uint64_t *at;

        slot = take_image(&r);
        at = (uint64_t *)(uintptr_t)ABI_IMAGE_GPA((uint64_t)slot);
        for (size_t i = 0; i < r.size / sizeof(*at); i++) {
            found += at[i] != 0;
            at[i] = 0x7365637265747321ull;
        }
        heartbeat();
        (void)call(ABI_CALL_IMAGE_DROP, (uint64_t)slot, 0, 0);
    }
    slot = call(ABI_CALL_IMAGE_BEGIN, (uintptr_t)&r, 0, 0);
    say("standin: image memory: %lu words of others', commit of what was not cleared gives %ld\n",
        found, call(ABI_CALL_IMAGE_COMMIT, (uint64_t)slot, (uintptr_t)sha256, 0));
    (void)call(ABI_CALL_IMAGE_DROP, (uint64_t)slot, 0, 0);
}

static void hang(void)
{
    try_image_memory();
    try_calls();
    for (;;)
        __asm__ volatile("" ::: "memory");
}

/* Sets and clears every control bit of another guest's vCPU, one at a time. That guest may suffer;
 * the machine must not. */
static void try_controls(uint64_t victim)
{
    const struct abi_guest *g = guest(victim);
    unsigned done = 0, refused = 0;

    for (unsigned i = 0; i < ABI_CONTROLS * 64; i++) {
        struct abi_controls c = {0};
        int64_t sequence;

        c.mask[i / 64] = 1u << (i / 2 % 32);
        c.value[i / 64] = i % 2 ? 0 : c.mask[i / 64];
        sequence = call(ABI_CALL_CONTROLS, victim, 0, (uintptr_t)&c);
        while (sequence > 0 && g->state == ABI_GUEST_RUNNING &&
               __atomic_load_n(&vcpu(victim, 0)->controls.sequence, __ATOMIC_ACQUIRE) <
                   (uint64_t)sequence)
            heartbeat();
        done += sequence > 0;
        refused += sequence > 0 && vcpu(victim, 0)->controls.result != 0;
    }
    say("standin: %u controls done, %u refused\n", done, refused);
}

static void doze(void)
{
    try_controls(VICTIM);
    for (;;)
        sleep_until_irq();
}

static void poke(uint64_t at)
{
    *(volatile uint32_t *)(uintptr_t)at = 0;
    say("standin: ESCAPED, wrote 0x%lx\n", at);
}

static void write_host(void)
{
    poke(ABI_HOST_GPA);
}

static void write_log(void)
{
    poke(ABI_LOG_GPA + sizeof(struct abi_ring));
}

static void read_between(void)
{
    say("standin: ESCAPED, read 0x%x\n",
        *(volatile uint32_t *)(uintptr_t)(ABI_HOST_GPA + ABI_HOST_SIZE));
}

static void triple_fault(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing = {0, 0};

    __asm__ volatile("lidt %0; ud2" ::"m"(nothing));
}

/* The next life continues with the guests that do not exist yet. */
static void die_half_way(void)
{
    make_guests(2);
}

static void behave(void)
{
    say("standin: behaves, magic 0x%lx\n", host()->magic);
    for (;;) {
        for (unsigned i = 0; i < HEARTS; i++)
            __asm__ volatile("pause");
        heartbeat();
    }
}

void guest_main(const char *cmdline)
{
    static void (*const lives[])(void) = {die_half_way, hang,         doze,        write_host,
                                          write_log,    read_between, triple_fault};
    uint32_t life = guest(host()->self)->restarts;

    (void)cmdline;
    if (life > 0)
        make_guests(ABI_GUESTS_MAX);
    if (life < ARRAY_LEN(lives))
        lives[life]();
    behave();
}
