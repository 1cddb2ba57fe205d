/* What lwIP needs to know about the compiler and the machine. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef long ssize_t;
#define SSIZE_MAX          INT64_MAX
#define LWIP_NO_INTTYPES_H 1
#define LWIP_NO_CTYPE_H    1
#define LWIP_NO_UNISTD_H   1
#define X8_F               "02x"
#define U16_F              "u"
#define S16_F              "d"
#define X16_F              "x"
#define U32_F              "u"
#define S32_F              "d"
#define X32_F              "x"
#define SZT_F              "zu"

/* Logs the reason and ends the guest: the root restarts it. */
_Noreturn void mgmt_die(const char *why);
uint32_t mgmt_random(void);
#define LWIP_PLATFORM_ASSERT(x) mgmt_die(x)
#define LWIP_PLATFORM_DIAG(x)
#define LWIP_RAND() mgmt_random()

/* For lwIP's SNTP client, by mgmt/names.c: the server's UDP port; the wall clock as seconds since
 * 1970 and microseconds. */
uint16_t names_ntp_port(void);
void names_set_time(uint32_t seconds, uint32_t us);
void names_get_time(uint32_t *seconds, uint32_t *us);
