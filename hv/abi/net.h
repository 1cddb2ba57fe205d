/*
 * A guest's network card: its configuration, and the reasons for refusing frames. Part of the
 * control ABI.
 */
#pragma once

#include "hv/types.h"

#define NET_NAME_MAX       32u /* with the NUL */
#define NET_ADDRESSES_MAX  8u
#define NET_BROADCASTS     500u /* a second: the default */
#define NET_BROADCASTS_MAX 100000u

/* An IPv6 address; an IPv4 address is mapped to one: RFC 4291, section 2.5.5.2. */
struct net_address {
    uint8_t bytes[16];
};

/* What a guest may do beyond the default. */
enum net_allow {
    NET_ALLOW_ANY_ADDRESS = 1u << 0, /* send from, and answer for, any IP address */
    NET_ALLOW_ROUTER = 1u << 1,      /* router advertisements and redirects */
    NET_ALLOW_DHCP_SERVER = 1u << 2, /* answers of DHCP and DHCPv6 servers */
    NET_ALLOW_VLAN_TAGS = 1u << 3,   /* 802.1Q and 802.1ad */
};
#define NET_ALLOW_ALL 0xfu

struct net_config {
    char network[NET_NAME_MAX];     /* [a-z0-9][a-z0-9-]* */
    uint32_t allow;                 /* enum net_allow */
    uint32_t broadcasts_per_second; /* 1..NET_BROADCASTS_MAX, multicasts included */
    uint16_t uplink;                /* 1: it also reaches the machines outside */
    uint16_t address_count;         /* 0: what DHCP and router advertisements give it */
    struct net_address addresses[NET_ADDRESSES_MAX];
};

/* What happened to a frame that entered a port of the switch. */
enum net_drop {
    NET_PASSED,
    NET_DROP_MALFORMED,   /* too short, too long, or headers that contradict each other */
    NET_DROP_SOURCE,      /* from an Ethernet address that is not the port's */
    NET_DROP_RESERVED,    /* to an address that no bridge forwards */
    NET_DROP_DESTINATION, /* to a destination that the port cannot reach */
    NET_DROP_TAG,         /* 802.1Q or 802.1ad */
    NET_DROP_HIDDEN,  /* IPv6 fragments and extension headers, SNAP: what they hide is unknown */
    NET_DROP_ARP,     /* for an address that is not the guest's */
    NET_DROP_ND,      /* neighbour discovery, likewise */
    NET_DROP_ROUTER,  /* a router advertisement or a redirect */
    NET_DROP_DHCP,    /* a DHCP server's answer, or a request in another's name */
    NET_DROP_ADDRESS, /* an IP source that is not the guest's */
    NET_DROP_RATE,    /* too many broadcasts */
    NET_DROPS
};

/* How a network card interrupts. */
enum abi_nic_irq { ABI_NIC_POLLED, ABI_NIC_LINE, ABI_NIC_MSI, ABI_NIC_MSIX, ABI_NIC_IRQS };

/* How the configuration names a network card of the host, by the number of its bytes: 6, its
 * Ethernet address; 4, its segment, bus, device and function; 1, its index in abi_host.nics.
 * Without any it is the first. */
#define NET_CARD_MAC   6u
#define NET_CARD_PLACE 4u
#define NET_CARD_INDEX 1u
struct net_card_name {
    uint8_t count;
    uint8_t bytes[NET_CARD_MAC];
};

/* For whom a network card is the uplink: bits. */
enum abi_nic_role { ABI_NIC_MANAGEMENT = 1u << 0, ABI_NIC_GUESTS = 1u << 1 };
#define ABI_NIC_ROLES 2u

#define ABI_NICS_MAX  8u
/* A network card of the host. */
struct abi_nic {
    char name[32];   /* "82540EM"; empty: none, and no more follow */
    char driver[16]; /* "e1000" */
    uint32_t place;  /* segment << 16 | bus << 8 | device << 3 | function */
    uint8_t mac[6];  /* the card's own */
    uint8_t
        roles;   /* bits of enum abi_nic_role; 0: it is not used, and what follows means nothing */
    uint8_t irq; /* enum abi_nic_irq */
    uint8_t link_up, full_duplex;
    uint8_t pad0[2];
    uint32_t mbits;      /* 0: unknown */
    uint64_t interrupts; /* 0: none was seen, and it is polled */
    uint64_t rx_frames, rx_dropped, tx_frames, tx_dropped;
    uint64_t became[NET_DROPS]; /* what the switch did with the frames received, by enum net_drop */
};
