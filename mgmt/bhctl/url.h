/* Where things are: URLs, paths, names of images, fingerprints. Pure. */
#pragma once

#include "hv/types.h"

#define URL_MAX         512u
#define IMAGE_NAME_SIZE 64u /* with the NUL: what the appliance takes */
#define SHA256_SIZE     32u

/* The base, as it was typed, without the slashes at its end. NULL: all well; else what is wrong
 * with it. */
const char *url_base(const char *text, char base[URL_MAX]) MUST_CHECK;

/* Makes a path. "%s" is escaped as one segment or value (RFC 3986: all but unreserved characters,
 * and ',', which separates fields); there is no other conversion. False if it does not fit, or if a
 * segment of the path would be empty, "." or "..". */
bool url_path(char *buf, size_t size, const char *format, ...) MUST_CHECK;

/* What an uploaded file is called: the guest's name and the file's, with '_' for what no image may
 * have, cut to what fits. `n` tells files of one name apart: 0 for the first of them. */
void url_image_name(const char *guest, const char *file, unsigned n, char name[IMAGE_NAME_SIZE]);

/* 64 hexadecimal digits, in upper or lower case, with or without colons between bytes and "sha256"
 * before them. */
bool url_fingerprint(const char *text, uint8_t sha256[SHA256_SIZE]) MUST_CHECK;
/* "B3:DD:..." */
#define FINGERPRINT_TEXT (3u * SHA256_SIZE)
void url_fingerprint_text(const uint8_t sha256[SHA256_SIZE], char text[FINGERPRINT_TEXT]);

/* Lower-case hexadecimal of n bytes, 2 * n + 1 characters. */
void url_hex(const uint8_t *bytes, size_t n, char *text);
