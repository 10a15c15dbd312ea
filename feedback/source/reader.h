/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader: raw bytes of a notice -> a unit's events, for all sources with a thread of their own
 * and for replay. One reader per thread: it keeps certificates.
 *
 * A document of SNS is believed by its signature. Everything else (raw delivery, EventBridge,
 * archives of SES events) carries none and is believed only where the caller says so.
 */
#ifndef KAIRAN_FEEDBACK_READER_H
#define KAIRAN_FEEDBACK_READER_H

#include "config.h"
#include "pull.h"
#include "sns_intake.h"
#include "token.h"

struct reader {
	const struct config *config; /* borrowed, like keys */
	const struct token_keys *keys;
	struct sns_intake sns;
	struct sns_cert_cache *cache;
	struct mail_worker *worker; /* that parses mails; NULL: the reader's thread */
};

/* 0, or -1 with err. The struct must not move afterwards. Release it either way. */
int reader_init(struct reader *reader, const struct config *config, const struct token_keys *keys,
    struct err *err) MUST_CHECK;
void reader_release(struct reader *reader);

/* After reader_init(): who parses mails, and where those of SES are kept for people, which mailboxes and
 * archives keep themselves. Borrowed; NULL: nobody, nowhere. */
void reader_set_mail(struct reader *reader, struct mail_worker *worker, const struct keep *keep);

/* A mail. Always gives an event (UNIT_OPEN), except without memory (UNIT_AGAIN). rcpts: of its envelope. */
void reader_mail(struct reader *reader, struct slice raw, struct unit *unit);
void reader_mail_to(struct reader *reader, struct slice raw, const struct slice *rcpts,
    size_t count, struct unit *unit);

/*
 * A notice of SES in any wrapping: document of SNS, envelope of EventBridge, bare. UNIT_OPEN with
 * events; UNIT_LEFT with why: forged, of a topic that is not allowed, unsigned where that is not
 * accepted, or no notice of SES; UNIT_AGAIN: a certificate is not to be had, no memory.
 */
void reader_notice(
    struct reader *reader, struct slice raw, bool accept_unsigned, struct unit *unit);

/* Replaces a unit that cannot be taken by an event that keeps it: kind other, the reason, key
 * made of source and name; as a whole, too, unless it is a mere sns_test. is_believed: see
 * feedback_kept. UNIT_OPEN, or UNIT_AGAIN without memory. */
void reader_keep(struct unit *unit, const char *source, const char *reason, struct slice name,
    struct slice raw, bool is_believed);

/* The reader of every source that has a thread checks a password file alike: one line, mode
 * 600. The text is written to dst. 0, or -1 with err. */
int reader_password(
    const char *path, const char *key, char *dst, size_t size, struct err *err) MUST_CHECK;

#endif
