/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sigv4: signs requests to Amazon's services (AWS General Reference, Signature Version 4). No
 * I/O, no clock: the caller gives the time. One signer serves one region and service; the key
 * derived for a day is kept, so that most requests cost three short hashes.
 */
#ifndef KAIRAN_SIGV4_H
#define KAIRAN_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "aws_credentials.h"
#include "buf.h"
#include "err.h"
#include "sha256.h"
#include "slice.h"

#define SIGV4_DATE_BYTES 17 /* 20150830T123600Z and NUL */
#define SIGV4_HASH_BYTES 65 /* SHA-256 in hex and NUL */
#define SIGV4_REGION_MAX 40
#define SIGV4_SERVICE_MAX 16
#define SIGV4_HEADERS_MAX 16
#define SIGV4_PARAMS_MAX 32 /* of a query */

/* Each header must be sent as it is given here; others may be sent besides. */
struct sigv4_header {
	const char *name; /* lower case */
	struct slice value;
};

struct sigv4_request {
	const char *method;
	struct slice path;  /* as sent: each segment percent-encoded once; empty: "/" */
	bool path_is_final; /* S3: it is signed as sent; else encoded a second time */
	struct slice query; /* as sent, without "?": names and values encoded, in any order */
	const struct sigv4_header *headers; /* in any order; host and x-amz-date among them */
	size_t header_count;
	const char *body_hash; /* sigv4_hash() of the body */
};

struct sigv4_signer {
	char access_key[AWS_KEY_MAX + 1];
	char region[SIGV4_REGION_MAX + 1], service[SIGV4_SERVICE_MAX + 1];
	char secret[AWS_SECRET_MAX + 1];
	char day[9]; /* of key; "" before the first use */
	struct sha256_key key;
	struct buf text; /* owned: what is being signed */
};

/* 0, or -1 with err when region or service is no such word. Wipe it with sigv4_release. */
MUST_CHECK int sigv4_init(struct sigv4_signer *s, const struct aws_credentials *credentials,
    const char *region, const char *service, struct err *err);
void sigv4_release(struct sigv4_signer *s);

/* "20150830T123600Z", the value of x-amz-date. */
void sigv4_date(time_t at, char dst[SIGV4_DATE_BYTES]);

/* SHA-256 in lower case hex. */
void sigv4_hash(struct slice bytes, char dst[SIGV4_HASH_BYTES]);

/* Appends the value of Authorization to out. date: the value of x-amz-date. 0, or -1 when there
 * are too many headers or parameters, or out is full. */
MUST_CHECK int sigv4_sign(
    struct sigv4_signer *s, const struct sigv4_request *request, const char *date, struct buf *out);

/* Appends what the signature is made of; for tests and for looking at refused signatures. */
MUST_CHECK int sigv4_canonical(const struct sigv4_request *request, struct buf *out);

/* Percent-encodes all but A-Z a-z 0-9 - . _ ~, and "/" when keep_slash. */
void sigv4_encode(struct buf *out, struct slice text, bool keep_slash);

#endif
