# The management guest: build/mgmt.elf. lwIP, mbedTLS and wslay come from Debian source packages, pinned; llhttp as the package node-llhttp.

LWIP_VERSION := 2.1.3+dfsg1-2
LWIP_TARBALL := lwip_2.1.3+dfsg1.orig.tar.xz
LWIP_SHA256  := 0a8276d09fc4e97bbba2f953d74af2388fc2195ea156be9d7589e297a68fde24
# One copy for every build directory of this tree.
LWIP_DIR     ?= build/third_party/lwip
LWIP_STAMP   := $(LWIP_DIR)/src/include/lwip/init.h

MBEDTLS_VERSION := 2.28.3-1
MBEDTLS_TARBALL := mbedtls_2.28.3.orig.tar.gz
MBEDTLS_SHA256  := 3b4953aa55a681e084d31892d9904cc5328d6b4958ea57b90ae4b4f94ae69a8d
MBEDTLS_DIR     ?= build/third_party/mbedtls
MBEDTLS_STAMP   := $(MBEDTLS_DIR)/include/mbedtls/ssl.h

# wslay 1.1.1, the release that the package wslay has too, from the source of aria2: more mirrors have that one.
WSLAY_VERSION := 1.36.0-1
WSLAY_TARBALL := aria2_1.36.0.orig.tar.gz
WSLAY_SHA256  := b593b2fd382489909c96c62c6e180054c3332b950be3d73e0cb0d21ea8afb3c5
WSLAY_DIR     ?= build/third_party/wslay
WSLAY_STAMP   := $(WSLAY_DIR)/lib/includes/wslay/wslay.h

# Directories of third-party code, and the file of each that says that it is there.
THIRD_PARTY   := LWIP_DIR=$(LWIP_DIR) MBEDTLS_DIR=$(MBEDTLS_DIR) WSLAY_DIR=$(WSLAY_DIR)
THIRD_STAMPS  := $(LWIP_STAMP) $(MBEDTLS_STAMP) $(WSLAY_STAMP)

MGMT_C := $(wildcard mgmt/*.c mgmt/pc/*.c)
MGMT_PURE := hv/date.c hv/fmt.c hv/lib.c hv/json.c $(wildcard hv/config/*.c hv/load/*.c) arch/x86/vmx/fields.c arch/x86/vmx/names.c $(DECODE_C) $(wildcard arch/x86/vmx/entry_check*.c) arch/x86/vmx/caps.c
# What is told about a VMCS, without a request: linked into vmcsdump too.
MGMT_TELL := mgmt/json.c mgmt/dump.c mgmt/dump_options.c mgmt/report.c mgmt/layout.c mgmt/capabilities.c
MGMT_LWIP := core/altcp core/altcp_alloc core/altcp_tcp core/def core/inet_chksum core/init core/ip core/mem core/memp core/netif core/pbuf core/raw \
        core/stats core/sys core/tcp core/tcp_in core/tcp_out core/timeouts core/udp core/ipv4/dhcp \
        core/ipv4/etharp core/ipv4/icmp core/ipv4/ip4 core/ipv4/ip4_addr core/ipv4/ip4_frag core/ipv4/igmp \
        core/ipv6/ethip6 core/ipv6/icmp6 core/ipv6/inet6 core/ipv6/ip6 core/ipv6/ip6_addr core/ipv6/ip6_frag core/ipv6/mld6 core/ipv6/nd6 \
        core/dns netif/ethernet apps/mdns/mdns apps/sntp/sntp apps/altcp_tls/altcp_tls_mbedtls
MGMT_MBEDTLS := aes asn1parse asn1write base64 bignum chacha20 chachapoly cipher cipher_wrap constant_time ctr_drbg ecdh ecdsa ecp \
        ecp_curves entropy gcm hmac_drbg md memory_buffer_alloc oid pem pk pk_wrap pkparse pkwrite platform platform_util poly1305 \
        rsa rsa_internal sha1 sha256 sha512 ssl_ciphersuites ssl_msg ssl_srv ssl_ticket ssl_tls x509 x509_create x509_crt x509write_crt
MGMT_WSLAY := wslay_event wslay_frame wslay_net wslay_queue
MGMT_LLHTTP := api http llhttp

# Not -MMD: it leaves out lwipopts.h, which a system header includes.
MGMT_CFLAGS := $(FREESTANDING:-MMD=-MD) -fno-stack-protector -ffile-prefix-map=$(LWIP_DIR)=lwip -ffile-prefix-map=$(MBEDTLS_DIR)=mbedtls \
        -ffile-prefix-map=$(WSLAY_DIR)=wslay -Imgmt/include -isystem $(LWIP_DIR)/src/include -isystem $(LWIP_DIR)/src/apps/altcp_tls \
        -isystem $(MBEDTLS_DIR)/include -isystem $(WSLAY_DIR)/lib/includes \
        -isystem /usr/share/include/llhttp
MGMT_O := $(MGMT_C:%.c=$(BUILD)/mgmt/%.o) $(MGMT_PURE:%.c=$(BUILD)/mgmt/%.o) $(BUILD)/mgmt/start.asm.o \
        $(MGMT_LWIP:%=$(BUILD)/mgmt/lwip/%.o) $(MGMT_MBEDTLS:%=$(BUILD)/mgmt/mbedtls/%.o) \
        $(MGMT_WSLAY:%=$(BUILD)/mgmt/wslay/%.o) $(MGMT_LLHTTP:%=$(BUILD)/mgmt/llhttp/%.o)

$(LWIP_STAMP): | deps-build
	@test/tools/fetch.sh lwip $(LWIP_VERSION) $(LWIP_SHA256) $(LWIP_TARBALL) $(LWIP_DIR)
$(MBEDTLS_STAMP): | deps-build
	@test/tools/fetch.sh mbedtls $(MBEDTLS_VERSION) $(MBEDTLS_SHA256) $(MBEDTLS_TARBALL) $(MBEDTLS_DIR)

$(WSLAY_STAMP): | deps-build
	@test/tools/fetch.sh aria2 $(WSLAY_VERSION) $(WSLAY_SHA256) $(WSLAY_TARBALL) $(WSLAY_DIR) deps/wslay

$(BUILD)/mgmt/%.o: %.c Makefile mgmt/mgmt.mk | $(GEN) $(THIRD_STAMPS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(MGMT_CFLAGS) $(WARN) -c $< -o $@

# The compiler does not see what the assembler reads.
$(BUILD)/mgmt/mgmt/page_files.o: $(wildcard mgmt/page/*) mgmt/openapi.json $(BUILD)/gen/xterm.js.gz $(BUILD)/gen/xterm.css.gz
$(BUILD)/mgmt/mgmt/page_files.o: MGMT_CFLAGS += -Wa,-I$(BUILD)/gen

$(BUILD)/mgmt/start.asm.o: mgmt/pc/start.asm Makefile | deps-build
	@mkdir -p $(@D)
	$(call say,NASM,$@)
	$(Q)$(NASM) -f elf64 $< -o $@

# Third-party code is compiled as it is: its warnings are its authors'.
$(BUILD)/mgmt/lwip/%.o: Makefile mgmt/mgmt.mk | $(GEN) $(THIRD_STAMPS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -c $(LWIP_DIR)/src/$*.c -o $@

$(BUILD)/mgmt/mbedtls/%.o: Makefile mgmt/mgmt.mk | $(GEN) $(THIRD_STAMPS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -c $(MBEDTLS_DIR)/library/$*.c -o $@
# For the opening of WebSockets alone: not in mbedtls_config.h, where TLS would find it.
$(BUILD)/mgmt/mbedtls/sha1.o: MGMT_CFLAGS += -DMBEDTLS_SHA1_C

$(BUILD)/mgmt/wslay/%.o: mgmt/include/wslay_port.h Makefile mgmt/mgmt.mk | $(GEN) $(THIRD_STAMPS)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -include mgmt/include/wslay_port.h -c $(WSLAY_DIR)/lib/$*.c -o $@

$(BUILD)/mgmt/llhttp/%.o: Makefile mgmt/mgmt.mk | $(GEN) deps-build
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -c /usr/share/llhttp/$*.c -o $@

$(BUILD)/mgmt.elf: $(MGMT_O) mgmt/mgmt.lds $(BUILD)/gen/MGMT_O.list
	$(call say,LD,$@)
	$(Q)ld -n -nostdlib -z noexecstack --no-warn-rwx-segments -T mgmt/mgmt.lds -o $@ $(MGMT_O)

-include $(MGMT_O:.o=.d)
