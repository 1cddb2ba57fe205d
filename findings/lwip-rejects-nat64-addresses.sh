#!/bin/sh
# lwIP 2.2.1 (Debian 13's source package 2.2.1+dfsg1-1+deb13u1). ip6addr_aton() reads an IPv6 address that
# ends in an IPv4 address in two forms only: with all six groups in front, and as ::ffff:192.0.2.33, which
# is one group behind a "::" at the start. RFC 4291 (2.2) allows "::" anywhere and has ::13.1.68.3 as an
# example, and RFC 6052 writes NAT64's addresses as 64:ff9b::192.0.2.33. So we expected all to be read, as
# the C library's inet_pton() does. lwIP's resolver sends such an address to the DNS as a name, where
# nobody knows it. An application that gets NAT64 addresses as text has to write the last four bytes in
# hexadecimal before lwIP sees them.
#
# The program gives each address to ip6addr_aton() and inet_pton(). It prints which of them read it, and
# whether both read the same address.
set -eu
WANTED=2.2.1+dfsg1-1+deb13u1

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
. "$here/../test/tools/apt.sh"
private_apt "$dir/apt" deb-src:trixie
{ apt_private apt-get update && apt_private apt-get source --download-only "lwip=$WANTED"; } > apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-source --no-check -x lwip_*.dsc lwip > unpack.log 2>&1

mkdir -p include/arch
cat > include/lwipopts.h << 'EOF'
#define NO_SYS                  1
#define SYS_LIGHTWEIGHT_PROT    0
#define LWIP_IPV4               1
#define LWIP_IPV6               1
#define LWIP_IPV6_SCOPES        0
EOF
cat > include/arch/cc.h << 'EOF'
#include <stdlib.h>
#define LWIP_RAND()             ((unsigned)rand())
EOF
cat > main.c << 'EOF'
#include <stdio.h>
#include <string.h>

#include "lwip/ip6_addr.h"

int inet_pton(int family, const char *text, void *address); /* <arpa/inet.h> does not go with lwIP's headers */

int main(void)
{
    static const char *const texts[] = { "64:ff9b::c000:221", "64:ff9b:0:0:0:0:192.0.2.33", "::ffff:192.0.2.33", "64:ff9b::192.0.2.33", "64:ff9b::0:192.0.2.33",
                                         "2001:db8:122:344::192.0.2.33", "::13.1.68.3" };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        unsigned char libc[16] = { 0 };
        ip6_addr_t lwip = { { 0 } };
        int by_lwip = ip6addr_aton(texts[i], &lwip), by_libc = inet_pton(10, texts[i], libc) == 1;

        printf("%s: lwIP %s, libc %s%s\n", texts[i], by_lwip ? "yes" : "no", by_libc ? "yes" : "no",
               !by_lwip || !by_libc ? "" : memcmp(lwip.addr, libc, 16) ? ", another" : ", the same");
    }
    return 0;
}
EOF
cc -w -Iinclude -Ilwip/src/include -o read main.c lwip/src/core/ipv6/ip6_addr.c lwip/src/core/ipv4/ip4_addr.c lwip/src/core/def.c
echo "lwIP $WANTED"
./read | tee out.txt
cat > wanted.txt << 'EOF'
64:ff9b::c000:221: lwIP yes, libc yes, the same
64:ff9b:0:0:0:0:192.0.2.33: lwIP yes, libc yes, the same
::ffff:192.0.2.33: lwIP yes, libc yes, the same
64:ff9b::192.0.2.33: lwIP no, libc yes
64:ff9b::0:192.0.2.33: lwIP no, libc yes
2001:db8:122:344::192.0.2.33: lwIP no, libc yes
::13.1.68.3: lwIP no, libc yes
EOF
cmp -s out.txt wanted.txt || { echo "this has changed"; exit 1; }
