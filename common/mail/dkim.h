/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dkim: DKIM signatures of outgoing mail (RFC 6376, 8301, 8463). One signer holds the keys that
 * sign for one sender: RSA (rsa-sha256) and Ed25519 (ed25519-sha256), several identities
 * at once. Pure: keys come as text, messages as bytes, the time as a number; no I/O.
 *
 * A signature is relaxed/relaxed, without l=, with t= and x=. The body is hashed once for
 * all signatures, and so are the header fields that they cover. Which fields: those of the table
 * in dkim.c as often as they are there, and the ones that decide what a recipient sees or does
 * once more than that (oversigned), so that nobody can add another; List-Unsubscribe and
 * List-Unsubscribe-Post are always among them (RFC 8058 section 4). Fields that stations on
 * the way write or rewrite (Received, Return-Path) are not covered.
 *
 * A signer is immutable once its keys are in: any number of threads may sign with it at once.
 */
#ifndef KAIRAN_DKIM_H
#define KAIRAN_DKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "slice.h"

#define DKIM_KEYS_MAX 6	       /* of one signer */
#define DKIM_FIELDS_MAX 250    /* header fields of a message */
#define DKIM_PEM_MAX 16384     /* bytes of a key file */
#define DKIM_HASH_BYTES 32     /* SHA-256 */
#define DKIM_SIGNATURE_MAX 512 /* bytes of a signature: RSA-4096 */
#define DKIM_RSA_BITS 2048     /* of new keys (RFC 8301 3.2) */

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };

/* "rsa", "ed25519": the k= of the DNS record. */
const char *dkim_algorithm_name(enum dkim_algorithm algorithm);

/* One key with what it signs as. Secret: wiped when freed. */
struct dkim_key;

/*
 * From a PEM private key (PKCS#8 or PKCS#1, not encrypted). domain (d=, A-labels) and selector
 * (s=) are dot-separated labels of letters, digits, '-' and '_'; identity (i=) may be empty, else
 * [local]@domain or [local]@sub.domain. RSA keys have 1024 to 4096 bits (RFC 8301 3.2).
 * 0, or -1 with err.
 */
int dkim_key_parse(struct dkim_key **key, struct slice pem, struct slice domain,
    struct slice selector, struct slice identity, struct err *err) MUST_CHECK;
void dkim_key_free(struct dkim_key *key);

/* Appends a new private key as PEM (PKCS#8). 0, or -1 with err. */
int dkim_key_generate(enum dkim_algorithm algorithm, struct buf *pem, struct err *err) MUST_CHECK;

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *key);
unsigned dkim_key_bits(const struct dkim_key *key);
const char *dkim_key_domain(const struct dkim_key *key);
const char *dkim_key_selector(const struct dkim_key *key);

/* Appends the p= of the DNS record: base64 of the SubjectPublicKeyInfo for RSA, of the bare 32
 * bytes for Ed25519 (RFC 8463 4). false without memory. */
bool dkim_key_put_public(const struct dkim_key *key, struct buf *out) MUST_CHECK;

/* Appends the text of the DNS record, "v=DKIM1; k=…; p=…". */
bool dkim_key_put_record(const struct dkim_key *key, struct buf *out) MUST_CHECK;

struct dkim;

/* No key yet. NULL without memory. */
struct dkim *dkim_new(void) MUST_CHECK;
void dkim_free(struct dkim *dkim);

/* Takes the key, also on failure. Signatures stand in the order of the keys. 0, or -1 with err. */
int dkim_add(struct dkim *dkim, struct dkim_key *key, struct err *err) MUST_CHECK;

size_t dkim_count(const struct dkim *dkim);
/* Borrowed; i < dkim_count(). */
const struct dkim_key *dkim_at(const struct dkim *dkim, size_t i);

struct dkim_options {
	int64_t now_s;	    /* t= */
	int64_t lifetime_s; /* x= is t= plus this; 0: no x= */
	bool ses; /* Amazon SES writes Message-ID and Date anew: they stay unsigned, and only
				the first key signs */
};

/*
 * Puts one DKIM-Signature field per key before the message. The message has CRLF line ends, a
 * From field and at most DKIM_FIELDS_MAX fields, and is otherwise left as it is. 0, or -1 with
 * err (the message is then as it was): not a message, no memory, the buffer's ceiling.
 */
int dkim_sign(const struct dkim *dkim, const struct dkim_options *options, struct buf *message,
    struct err *err) MUST_CHECK;

/* ---- the steps, for tests with published vectors ---- */

/* SHA-256 of the body in relaxed form (RFC 6376 3.4.4). false without memory. */
bool dkim_hash_body(
    const struct dkim *dkim, struct slice body, unsigned char hash[DKIM_HASH_BYTES]) MUST_CHECK;

/* Appends one header field in relaxed form (RFC 6376 3.4.2), without CRLF. */
void dkim_put_relaxed(struct buf *out, struct slice field);

/* Signs a SHA-256 hash. Returns the length of the signature, 0 on failure. */
size_t dkim_key_sign(const struct dkim_key *key, const unsigned char hash[DKIM_HASH_BYTES],
    unsigned char signature[DKIM_SIGNATURE_MAX]) MUST_CHECK;

#endif
