#include "mgmt/address.h"

#include "hv/fmt.h"

void address_ipv4(char out[ADDRESS_TEXT], const uint8_t *ip)
{
    (void)fmt(out, ADDRESS_TEXT, "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
}

void address_ipv6(char out[ADDRESS_TEXT], const uint8_t *ip)
{
    unsigned group[8], best = 0, length = 1, n = 0;

    for (unsigned i = 0; i < 8; i++)
        group[i] = (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
    for (unsigned i = 0; i < 8; i++) {
        unsigned run = 0;

        while (i + run < 8 && group[i + run] == 0)
            run++;
        if (run > length) {
            best = i;
            length = run;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (length > 1 && i == best) {
            n += (unsigned)fmt(out + n, ADDRESS_TEXT - n, "::");
            i += length - 1;
        } else {
            n += (unsigned)fmt(out + n, ADDRESS_TEXT - n, "%s%x", n && out[n - 1] != ':' ? ":" : "",
                               group[i]);
        }
    }
}
