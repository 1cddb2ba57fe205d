/* lwIP for the management guest: no operating system, the raw API, everything from static pools. */
#pragma once

#include "hv/checksum.h"

#define NO_SYS                            1
#define LWIP_NETCONN                      0
#define LWIP_SOCKET                       0
#define SYS_LIGHTWEIGHT_PROT              0
#define LWIP_TIMERS                       1

#define MEM_ALIGNMENT                     8
#define MEM_SIZE                          (1600 * 1024)
/* 16 connections, 8 handshakes, and half as many again for half-open and closed ones (listen.c). */
#define MEMP_NUM_TCP_PCB                  48
#define MEMP_NUM_TCP_PCB_LISTEN           4
#define MEMP_NUM_TCP_SEG                  3072
#define MEMP_NUM_PBUF                     512
#define MEMP_NUM_SYS_TIMEOUT              32
#define MEMP_NUM_UDP_PCB                  8
#define PBUF_POOL_SIZE                    512
#define PBUF_POOL_BUFSIZE                 1600

#define LWIP_IPV4                         1
#define LWIP_IPV6                         1
#define LWIP_IPV6_AUTOCONFIG              1
#define LWIP_IPV6_MLD                     1
#define LWIP_IPV6_DHCP6                   0
#define LWIP_IPV6_FORWARD                 0
#define LWIP_IPV6_REASS                   0
#define LWIP_IGMP                         1
#define LWIP_ARP                          1
#define ARP_QUEUEING                      1
#define LWIP_ICMP                         1
/* Nothing addressed to us needs fragments, so there is no reassembly code to attack. */
#define IP_REASSEMBLY                     0
#define LWIP_RAW                          0
#define LWIP_UDP                          1
#define LWIP_DHCP                         1
#define LWIP_NETIF_HOSTNAME               1
#define LWIP_NETIF_STATUS_CALLBACK        1
/* We decline an address that another machine has: acd.c. */
#define LWIP_DHCP_DOES_ACD_CHECK          1

#define LWIP_TCP                          1
#define LWIP_ALTCP                        1
#define LWIP_ALTCP_TLS                    1
#define LWIP_ALTCP_TLS_MBEDTLS            1
/* Those of TCP and TLS, for each connection. */
#define MEMP_NUM_ALTCP_PCB                80
/* A client that returns within a day needs no new keys. */
#define ALTCP_MBEDTLS_USE_SESSION_TICKETS 1
/* Half as long as lwIP's fastest variant. */
#define LWIP_CHKSUM(bytes, n)             checksum_fold(checksum_add_bytes(0, bytes, (size_t)(n)))
#define TCP_MSS                           1460
/* More than the largest TLS record, which is acknowledged only when all of it has arrived. */
#define TCP_WND                           (16 * TCP_MSS)
#define TCP_SND_BUF                       (16 * TCP_MSS)
#define TCP_SND_QUEUELEN                  64
#define TCP_LISTEN_BACKLOG                1
/* Per connection, out of order: a window of full segments. */
#define TCP_OOSEQ_MAX_PBUFS               16
/* Six times the measured time, doubled each time: about a minute. The server gives up a client that
 * still wants an answer after ten seconds. */
#define TCP_MAXRTX                        6
/* A port that a client reuses while we hold it in TIME_WAIT would stall for minutes. */
#define TCP_MSL                           100

/* Which connection goes when there is no room for a new one: listen.c. */
#define LWIP_TCP_PCB_NUM_EXT_ARGS         1
#define LWIP_TCP_KEEPALIVE                1
#define LWIP_HOOK_FILENAME                "mgmt/include/lwip_hooks.h"

#define LWIP_STATS                        0

/* HOSTNAME.local by multicast DNS; names in the configuration by DNS. */
#define LWIP_DNS                          1
#define DNS_TABLE_SIZE                    2
#define LWIP_MDNS_RESPONDER               1
#define LWIP_MDNS_SEARCH                  0
#define MDNS_MAX_SERVICES                 2
#define LWIP_NETIF_EXT_STATUS_CALLBACK    1
#define LWIP_NUM_NETIF_CLIENT_DATA        1

/* Time: from the configured server, else from the one that DHCP names. */
#define LWIP_DHCP_GET_NTP_SRV             1
#define LWIP_DHCP_MAX_NTP_SERVERS         1
#define SNTP_SERVER_DNS                   1
#define SNTP_STARTUP_DELAY                0
#define SNTP_CHECK_RESPONSE               2
#define SNTP_COMP_ROUNDTRIP               1
#define SNTP_PORT                         names_ntp_port()
#define SNTP_SET_SYSTEM_TIME_US(s, us)    names_set_time(s, us)
#define SNTP_GET_SYSTEM_TIME(s, us)       names_get_time(&(s), &(us))
