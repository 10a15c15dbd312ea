/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor: what DNS says about a sender, held against what receivers ask for: SPF, DKIM, DMARC with
 * alignment, MX of the return path, PTR. Each check says what it found and what to publish. All
 * asking goes through struct dns.
 */
#ifndef KAIRAN_DOCTOR_H
#define KAIRAN_DOCTOR_H

#include <stdbool.h>

#include "arena.h"
#include "dkim.h"
#include "dns.h"
#include "err.h"
#include "resolver.h"

#define DOCTOR_CHECKS_MAX 500

enum doctor_verdict {
	DOCTOR_OK,
	DOCTOR_WARNING, /* mail goes out, but not as well as it could */
	DOCTOR_FAILED,	/* receivers refuse or distrust such mail */
	DOCTOR_SKIPPED	/* could not be looked at; found says why */
};

const char *doctor_verdict_name(enum doctor_verdict verdict);

struct doctor_check {
	const char *id; /* spf, dkim, dmarc, … */
	enum doctor_verdict verdict;
	const char *subject; /* the name or address looked at */
	const char *found;   /* one sentence; may hold text of strangers */
	const char *advice;  /* what to do or to publish; "": nothing */
};

/* Strings live in the arena. Past DOCTOR_CHECKS_MAX the last one is overwritten. */
struct doctor_checks {
	struct arena arena;
	struct doctor_check list[DOCTOR_CHECKS_MAX];
	size_t count;
	const struct dns *dns;
	struct resolver *resolver; /* owned; NULL when dns was given */
};

void doctor_checks_init(struct doctor_checks *d);
void doctor_checks_release(struct doctor_checks *d);

/* Asks the DNS servers of the system, or `server` as resolver.h takes it. 0, or -1 with err. */
int doctor_open(struct doctor_checks *d, const char *server, struct err *err) MUST_CHECK;

/* Adds a result. Formats are printf's. */
const struct doctor_check *doctor_add(struct doctor_checks *d, const char *id,
    enum doctor_verdict verdict, const char *subject, const char *advice, const char *found, ...)
    PRINTF_LIKE(6, 7);

/* The record in DNS against a key that signs. */
const struct doctor_check *doctor_check_key(struct doctor_checks *d, const struct dkim_key *key);

/* May the address send for the return path's domain? address NULL: is there a record at all? */
void doctor_check_spf(struct doctor_checks *d, const char *domain, const char *address);

/* The policy for the From domain, and whether return path and signatures agree with it. dkim may
 * be NULL: no key. */
void doctor_check_dmarc(struct doctor_checks *d, const char *from_domain, const char *path_domain,
    const struct dkim *dkim);

/* Somewhere to deliver bounces to. */
void doctor_check_mx(struct doctor_checks *d, const char *domain);

/* The name of the sending address, and back to the address. */
void doctor_check_ptr(struct doctor_checks *d, const char *address);

#endif
