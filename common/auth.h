/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth: the login at a relay: a file of credentials, the choice of a mechanism, and what is said
 * in it (RFC 4954; PLAIN RFC 4616; LOGIN and XOAUTH2 as they are in use). Secrets are wiped where
 * they are not needed any more, and never logged.
 *
 * The file: lines of "name = value"; empty lines and # comments are skipped.
 *   user = NAME             needed
 *   password = TEXT         or one of the next two
 *   token = TEXT            an OAuth 2 access token, for XOAUTH2
 *   ses_secret_key = TEXT   of an AWS access key (its id is the user), with
 *   ses_region = NAME       the region of the SMTP endpoint: the password is derived from both
 *   mechanism = plain | login | xoauth2     when the relay names several and the wrong one wins
 */
#ifndef KAIRAN_AUTH_H
#define KAIRAN_AUTH_H

#include "buf.h"

#define AUTH_USER_MAX 255
#define AUTH_SECRET_MAX 4096 /* tokens are long; RFC 4954 4 allows lines of 12288 */
#define AUTH_FILE_MAX 8192

/* The most that auth_put() appends. */
#define AUTH_LINE_MAX (2 * (AUTH_SECRET_MAX + 2 * AUTH_USER_MAX) + 64)

/* ses_secret_key -> password: 1 byte and 32 of HMAC as base64. */
#define AUTH_SES_PASSWORD_CHARS 44

enum auth_mechanism { AUTH_NONE = 0, AUTH_PLAIN = 1, AUTH_LOGIN = 2, AUTH_XOAUTH2 = 4 };

struct auth {
	char user[AUTH_USER_MAX + 1];
	char secret[AUTH_SECRET_MAX + 1];
	unsigned mechanisms; /* bits that these credentials can be used with */
};

/* The bytes of a credentials file. 0, or -1 with err (line and what to do; never a value). */
int auth_parse(struct auth *a, struct slice text, struct err *err) MUST_CHECK;

/* Reads the file; refuses one that others can read (mode & 077). */
int auth_load(struct auth *a, const char *path, struct err *err) MUST_CHECK;

void auth_wipe(struct auth *a);

/* "PLAIN" and so on, whatever its case; AUTH_NONE for others. */
enum auth_mechanism auth_mechanism_of(struct slice name);
const char *auth_mechanism_name(enum auth_mechanism mechanism);

/* The best of those offered that these credentials serve, AUTH_NONE when there is none. */
enum auth_mechanism auth_choose(const struct auth *a, unsigned offered);

/*
 * What the client says in step 0, 1, ... of the mechanism: step 0 is the AUTH command, each later
 * one the answer to a 334. Appends one line with CRLF; the answer to a challenge too many is "*",
 * which cancels (RFC 4954 4), and an empty line for XOAUTH2, whose 334 brings an error.
 */
void auth_put(struct buf *out, const struct auth *a, enum auth_mechanism mechanism, unsigned step);

/* The SMTP password of an AWS secret key in a region (Amazon SES Developer Guide, "Obtaining
 * Amazon SES SMTP credentials"). */
int auth_ses_password(
    struct slice secret_key, struct slice region, char dst[AUTH_SES_PASSWORD_CHARS + 1]) MUST_CHECK;

#endif
