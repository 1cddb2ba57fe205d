# The management guest: build/mgmt.elf. lwIP, mbedTLS, BearSSL, wslay, llhttp and zlib, and the page's xterm.js, are fetched as mgmt/third_party.pins says.

# One copy for every build directory of this tree, which `make clean` leaves alone.
LWIP_DIR    ?= third_party/lwip
MBEDTLS_DIR ?= third_party/mbedtls
BEARSSL_DIR ?= third_party/bearssl
WSLAY_DIR   ?= third_party/wslay
LLHTTP_DIR  ?= third_party/llhttp
XTERM_DIR   ?= third_party/xterm
ZLIB_DIR    ?= third_party/zlib

# NAME=DIRECTORY; directories that the caller of make names are the caller's own, the rest is fetched.
THIRD_PAIRS  := lwip=$(LWIP_DIR) mbedtls=$(MBEDTLS_DIR) bearssl=$(BEARSSL_DIR) wslay=$(WSLAY_DIR) llhttp=$(LLHTTP_DIR) xterm=$(XTERM_DIR) zlib=$(ZLIB_DIR)
THIRD_GIVEN  := $(foreach n,lwip:LWIP mbedtls:MBEDTLS bearssl:BEARSSL wslay:WSLAY llhttp:LLHTTP xterm:XTERM zlib:ZLIB,$(if $(filter file,$(origin $(lastword $(subst :, ,$(n)))_DIR)),,$(firstword $(subst :, ,$(n)))=%))
THIRD_PARTY  := LWIP_DIR=$(LWIP_DIR) MBEDTLS_DIR=$(MBEDTLS_DIR) BEARSSL_DIR=$(BEARSSL_DIR) WSLAY_DIR=$(WSLAY_DIR) LLHTTP_DIR=$(LLHTTP_DIR) XTERM_DIR=$(XTERM_DIR) ZLIB_DIR=$(ZLIB_DIR)

third-party: $(BUILD)/gen/third_party.stamp

# The archive's present versions, in the form of mgmt/third_party.pins.
third-party-pins: deps-build
	@test/tools/fetch.sh newest

# Checked before anything is built, and again if something is missing, the pins have changed or another make has fetched something; always, if a directory is the caller's own,
# or older than the pins because nothing newer could be fetched.
THIRD_FETCHED := $(filter-out $(THIRD_GIVEN),$(THIRD_PAIRS))
THIRD_PINNED  := $(foreach p,$(THIRD_FETCHED),$(lastword $(subst =, ,$(p)))/.pinned)
$(BUILD)/gen/third_party.stamp: mgmt/third_party.pins test/tools/fetch.sh $(wildcard $(THIRD_PINNED)) $(BUILD)/gen/THIRD_PAIRS.list \
        $(call unless_there,$(THIRD_PINNED) $(BUILD)/gen/third_party.h) $(if $(filter $(THIRD_GIVEN),$(THIRD_PAIRS)),FORCE) | deps-build
	@test/tools/fetch.sh given $(filter $(THIRD_GIVEN),$(THIRD_PAIRS))
	@test/tools/fetch.sh get $(THIRD_FETCHED)
	@test/tools/fetch.sh header $(THIRD_PAIRS) > $(@:.stamp=.h.new)
	@$(call renew,$(@:.stamp=.h)); test/tools/fetch.sh is-current $(THIRD_FETCHED) || rm $@

# Changes when other versions have been fetched; the objects compiled from them depend on it.
THIRD_VERSIONS := $(BUILD)/gen/third_party.h
$(THIRD_VERSIONS): $(BUILD)/gen/third_party.stamp ;

MGMT_C := $(wildcard mgmt/*.c mgmt/pc/*.c)
MGMT_PURE := hv/date.c hv/fmt.c hv/lib.c hv/guest_config.c hv/options.c $(wildcard mgmt/config/*.c mgmt/load/*.c) arch/x86/inspect/fields.c arch/x86/inspect/names.c arch/x86/inspect/vmcb_fields.c $(DECODE_C) $(ENTRY_CHECK_C)
# Explains VMCSs independently of requests: linked into vmcsdump too.
MGMT_TELL := mgmt/json.c mgmt/state.c mgmt/dump.c mgmt/dump_options.c mgmt/report.c mgmt/layout.c mgmt/capabilities.c
MGMT_LWIP := core/altcp core/altcp_alloc core/altcp_tcp core/def core/inet_chksum core/init core/ip core/mem core/memp core/netif core/pbuf core/raw \
        core/stats core/sys core/tcp core/tcp_in core/tcp_out core/timeouts core/udp core/ipv4/dhcp \
        core/ipv4/etharp core/ipv4/icmp core/ipv4/ip4 core/ipv4/ip4_addr core/ipv4/ip4_frag core/ipv4/igmp \
        core/ipv6/ethip6 core/ipv6/icmp6 core/ipv6/inet6 core/ipv6/ip6 core/ipv6/ip6_addr core/ipv6/ip6_frag core/ipv6/mld6 core/ipv6/nd6 \
        core/dns netif/ethernet apps/mdns/mdns apps/mdns/mdns_domain apps/mdns/mdns_out apps/altcp_tls/altcp_tls_mbedtls
MGMT_MBEDTLS := aes aesni asn1parse asn1write base64 bignum bignum_core chacha20 chachapoly cipher cipher_wrap constant_time ctr_drbg \
        ecdh ecdsa ecp ecp_curves entropy gcm hkdf hmac_drbg md memory_buffer_alloc oid pem pk pk_ecc pk_wrap pkparse pkwrite platform \
        platform_util poly1305 psa_crypto psa_crypto_aead psa_crypto_cipher psa_crypto_client psa_crypto_driver_wrappers_no_static \
        psa_crypto_ecp psa_crypto_hash psa_crypto_mac psa_crypto_rsa psa_crypto_slot_management psa_util rsa rsa_alt_helpers \
        sha1 sha256 sha512 ssl_ciphersuites ssl_msg ssl_ticket ssl_tls ssl_tls12_server ssl_tls13_generic ssl_tls13_keys \
        ssl_tls13_server x509 x509_create x509_crt x509write x509write_crt
MGMT_EVEREST := Hacl_Curve25519_joined
MGMT_BEARSSL := chacha20_sse2 poly1305_ctmulq
# mbedTLS's calls that are redirected to us: mgmt/tls_chachapoly.h, mgmt/tls_suites.h, mgmt/tls_x25519.h.
MGMT_WRAP := mbedtls_chachapoly_auth_decrypt mbedtls_chachapoly_encrypt_and_tag mbedtls_ecp_mul mbedtls_ecp_mul_restartable mbedtls_ssl_ticket_parse mbedtls_ssl_tls13_fetch_handshake_msg
MGMT_WSLAY := wslay_event wslay_frame wslay_net wslay_queue
MGMT_LLHTTP := api http llhttp
# Unpacks without a C library (Z_SOLO).
MGMT_ZLIB := adler32 crc32 inffast inflate inftrees zutil

# Not -MMD: it leaves out lwipopts.h, which a system header includes.
# Sections: functions that are never called are left out, and with them what only they would call.
MGMT_CFLAGS := $(FREESTANDING:-MMD=-MD) -fno-stack-protector -ffunction-sections -fdata-sections -ffile-prefix-map=$(LWIP_DIR)=lwip -ffile-prefix-map=$(MBEDTLS_DIR)=mbedtls \
        -ffile-prefix-map=$(WSLAY_DIR)=wslay -ffile-prefix-map=$(LLHTTP_DIR)=llhttp -Imgmt/include -isystem $(LWIP_DIR)/src/include -isystem $(LWIP_DIR)/src \
        -isystem $(LWIP_DIR)/src/apps/altcp_tls \
        -isystem $(MBEDTLS_DIR)/include -isystem $(MBEDTLS_DIR)/3rdparty/everest/include/everest -DMBEDTLS_CONFIG_FILE='<mgmt/include/mbedtls_config.h>' -isystem $(WSLAY_DIR)/lib/includes \
        -isystem $(LLHTTP_DIR) -isystem $(BEARSSL_DIR)/inc -ffile-prefix-map=$(BEARSSL_DIR)=bearssl -isystem $(ZLIB_DIR) -ffile-prefix-map=$(ZLIB_DIR)=zlib
MGMT_O := $(MGMT_C:%.c=$(BUILD)/mgmt/%.o) $(MGMT_PURE:%.c=$(BUILD)/mgmt/%.o) $(BUILD)/mgmt/start.asm.o \
        $(MGMT_LWIP:%=$(BUILD)/mgmt/lwip/%.o) $(MGMT_MBEDTLS:%=$(BUILD)/mgmt/mbedtls/%.o) $(MGMT_EVEREST:%=$(BUILD)/mgmt/everest/%.o) $(MGMT_BEARSSL:%=$(BUILD)/mgmt/bearssl/%.o) \
        $(MGMT_WSLAY:%=$(BUILD)/mgmt/wslay/%.o) $(MGMT_LLHTTP:%=$(BUILD)/mgmt/llhttp/%.o) $(MGMT_ZLIB:%=$(BUILD)/mgmt/zlib/%.o)

$(BUILD)/mgmt/%.o: %.c Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) $(WARN) -c $< $(out_d)

# The compiler does not see the files that the assembler reads.
$(BUILD)/mgmt/mgmt/page_files.o: mgmt/page/index.html mgmt/page/icon.svg mgmt/openapi.json $(BUILD)/gen/xterm.js.gz $(BUILD)/gen/page.js.gz $(BUILD)/gen/page.css.gz
$(BUILD)/mgmt/mgmt/page_files.o: MGMT_CFLAGS += -Wa,-I$(BUILD)/gen

$(BUILD)/mgmt/start.asm.o: mgmt/pc/start.asm Makefile | deps-build
	$(call say,NASM)
	$(Q)$(NASM) -f elf64 $< $(out)

# Third-party code is compiled unchanged: its warnings are its authors' business.
$(BUILD)/mgmt/lwip/%.o: Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -c $(LWIP_DIR)/src/$*.c $(out_d)

# See mgmt/include/mbedtls/ssl_internal.h.
$(BUILD)/mgmt/lwip/apps/altcp_tls/altcp_tls_mbedtls.o: MGMT_CFLAGS += -DMBEDTLS_ALLOW_PRIVATE_ACCESS

$(BUILD)/mgmt/mbedtls/%.o: Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -c $(MBEDTLS_DIR)/library/$*.c $(out_d)
$(BUILD)/mgmt/everest/%.o: Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) -DMBEDTLS_ECDH_VARIANT_EVEREST_ENABLED -isystem $(MBEDTLS_DIR)/library -isystem $(MBEDTLS_DIR)/3rdparty/everest/include \
	    -isystem $(MBEDTLS_DIR)/3rdparty/everest/include/everest/kremlib -w -c $(MBEDTLS_DIR)/3rdparty/everest/library/$*.c $(out_d)
# It would read unaligned words through pointers to words; from bytes the compilers make the same instruction.
BEARSSL_CFLAGS := -DBR_LE_UNALIGNED=0 -isystem $(BEARSSL_DIR)/src
$(BUILD)/mgmt/bearssl/%.o: Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) $(BEARSSL_CFLAGS) -w -c $(BEARSSL_DIR)/src/symcipher/$*.c $(out_d)
# These alone use vector registers, which interrupts therefore need not save. Their code asks the CPU first whether it has what it needs beyond SSE2.
$(BUILD)/mgmt/mgmt/sha256.o $(BUILD)/mgmt/bearssl/chacha20_sse2.o: MGMT_CFLAGS := $(filter-out -mgeneral-regs-only,$(MGMT_CFLAGS))
$(addprefix $(BUILD)/mgmt/mbedtls/,aes.o aesni.o gcm.o): MGMT_CFLAGS := $(filter-out -mgeneral-regs-only,$(MGMT_CFLAGS)) -maes -mpclmul
# Only for the opening of WebSockets: not in mbedtls_config.h, where TLS would find it.
$(BUILD)/mgmt/mbedtls/sha1.o: MGMT_CFLAGS += -DMBEDTLS_SHA1_C

$(BUILD)/mgmt/wslay/%.o: mgmt/include/wslay_port.h Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -include mgmt/include/wslay_port.h -c $(WSLAY_DIR)/lib/$*.c $(out_d)

$(BUILD)/mgmt/llhttp/%.o: Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) -w -c $(LLHTTP_DIR)/$*.c $(out_d)

$(BUILD)/mgmt/zlib/%.o: Makefile mgmt/mgmt.mk $(THIRD_VERSIONS) | $(GEN)
	$(call say,CC)
	$(Q)$(CC) $(MGMT_CFLAGS) -DZ_SOLO -w -c $(ZLIB_DIR)/$*.c $(out_d)

# It calls exit() without a declaration, which gcc 14 and later reject.
$(BUILD)/mgmt/mbedtls/memory_buffer_alloc.o: MGMT_CFLAGS += -include mgmt/include/stdlib.h

$(BUILD)/mgmt.elf: $(MGMT_O) mgmt/mgmt.lds $(BUILD)/gen/MGMT_O.list
	$(call say,LD)
	$(Q)ld -n -nostdlib --gc-sections $(MGMT_WRAP:%=--wrap=%) -z noexecstack --no-warn-rwx-segments -T mgmt/mgmt.lds $(MGMT_O) $(out)

-include $(MGMT_O:.o=.d)
