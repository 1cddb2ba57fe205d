/* URLs, paths, image names and fingerprints. Pure. */
#pragma once

#include "hv/types.h"

#define URL_MAX         512u
#define IMAGE_NAME_SIZE 64u /* with the NUL: the appliance's limit */
#define SHA256_SIZE     32u

/* The base URL as typed, without trailing slashes. NULL: it is valid; otherwise what is wrong with
 * it. */
const char *url_base(const char *text, char base[URL_MAX]) MUST_CHECK;

/* Makes a path. "%s" is escaped as one segment or value (RFC 3986: all but unreserved characters,
 * and ',', which separates fields); there is no other conversion. False if it does not fit, or if a
 * segment of the path would be empty, "." or "..". */
bool url_path(char *buf, size_t size, const char *format, ...) MUST_CHECK;

/* The image name for an uploaded file: the guest's name and the file's, with '_' for characters
 * that are not allowed, cut to fit. `n` distinguishes files of the same name: 0 for the first. */
void url_image_name(const char *guest, const char *file, unsigned n, char name[IMAGE_NAME_SIZE]);

#define GUEST_NAME_SIZE 32u
/* A guest's name after a file's, without its directory and extension: at most `most` characters,
 * and none if that name has no letter and no digit. */
void url_stem(const char *file, size_t most, char name[GUEST_NAME_SIZE]);
/* A guest's name for `run`: what it is made from, and 40 random bits. */
void url_guest_name(const char *file, const uint8_t random[5], char name[GUEST_NAME_SIZE]);
/* Lower case and without padding (RFC 4648), of a multiple of 5 bytes: 8 characters for each 5. */
void url_base32(const uint8_t *bytes, size_t n, char *text);

/* Parses 64 hexadecimal digits, in upper or lower case, with or without colons between bytes and
 * "sha256" before them. */
bool url_fingerprint(const char *text, uint8_t sha256[SHA256_SIZE]) MUST_CHECK;
/* "B3:DD:..." */
#define FINGERPRINT_TEXT (3u * SHA256_SIZE)
void url_fingerprint_text(const uint8_t sha256[SHA256_SIZE], char text[FINGERPRINT_TEXT]);

/* Lower-case hexadecimal of n bytes, 2 * n + 1 characters. */
void url_hex(const uint8_t *bytes, size_t n, char *text);
