/* Computes primes and never yields the core. */
#include "test/guests/lib/guest.h"

#define REPORT 5000u

static bool is_prime(uint64_t n)
{
    for (uint64_t d = 3; d * d <= n; d += 2)
        if (n % d == 0)
            return false;
    return true;
}

void guest_main(const char *cmdline)
{
    uint64_t count = 1;

    (void)cmdline;
    for (uint64_t n = 3;; n += 2) {
        if (!is_prime(n))
            continue;
        count++;
        if (count % REPORT == 0)
            say("hog: prime number %lu is %lu\n", count, n);
    }
}
