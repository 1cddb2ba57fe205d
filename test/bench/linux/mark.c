/* mark NAME: a line with the name and the time-stamp counter, for `make bench-linux`. */
#include <stdio.h>
#include <x86intrin.h>

int main(int argc, char **argv)
{
    unsigned long long now = __rdtsc();

    return argc != 2 || printf("%s %llu\n", argv[1], now) < 0;
}
