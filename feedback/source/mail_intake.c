/* SPDX-License-Identifier: Apache-2.0 */
/* mail_intake: see mail_intake.h. Owns nothing. */
#include "mail_intake.h"

#include <string.h>

#include "intake.h"
#include "log.h"
#include "mail_worker.h"

static enum mail_worker_result
parse(struct mail_worker *worker, const struct inbound_input *in, struct arena *arena,
    struct feedback_events *events, struct err *why)
{
	if (worker != NULL)
		return mail_worker_read(worker, in, arena, events, why);
	return inbound_parse(in, arena, events, why) == 0 ? MAIL_WORKER_READ
							  : MAIL_WORKER_UNREADABLE;
}

static bool
has_reason(const struct feedback_event *e, const char *const *reasons, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(e->reason, reasons[i]) == 0)
			return true;
	return false;
}

bool
mail_intake_is_understood(const struct feedback_events *events)
{
	static const char *const plain[] = { "auto_reply", "read_receipt", "tls_report",
		"sns_test" };

	for (size_t i = 0; i < events->count; i++)
		if (events->items[i].kind != OUTCOME_OTHER ||
		    has_reason(&events->items[i], plain, sizeof(plain) / sizeof(plain[0])))
			return true;
	return false;
}

/* The recipients of the envelope, one a line. */
static struct slice
lines_of(struct arena *arena, const struct mail_intake_mail *mail)
{
	size_t size = 0, n = 0;
	char *text;

	for (size_t i = 0; i < mail->rcpt_count; i++)
		size += mail->rcpts[i].len + 1;
	text = arena_alloc(arena, size + 1);
	for (size_t i = 0; text != NULL && i < mail->rcpt_count; i++) {
		memcpy(text + n, mail->rcpts[i].ptr, mail->rcpts[i].len);
		n += mail->rcpts[i].len;
		text[n++] = '\n';
	}
	return slice_make(text, n);
}

static int
read_events(const struct mail_intake *how, const struct mail_intake_mail *mail, struct arena *arena,
    struct feedback_events *events)
{
	struct inbound_input in = { .raw = mail->raw,
		.rcpts = mail->rcpts,
		.rcpt_count = mail->rcpt_count,
		.keys = how->keys,
		.bounce_domain = how->bounce_domain };
	struct slice parts[] = { SLICE("mail"), SLICE("unreadable"), { 0 } };
	struct err why = { 0 };
	struct feedback_event *e;
	enum mail_worker_result result;

	*events = (struct feedback_events){ 0 };
	if (in.raw.len > INBOUND_SIZE_MAX)
		in.raw.len = INBOUND_SIZE_MAX;
	result = parse(how->worker, &in, arena, events, &why);
	if (result == MAIL_WORKER_READ && events->count > 0)
		return 0;
	if (result == MAIL_WORKER_NONE) {
		log_error("mail cannot be parsed now, it comes again error=\"%s\"", why.msg);
		return -1;
	}
	log_warn("mail cannot be read, kept aside bytes=%zu error=\"%s\"", in.raw.len, why.msg);
	arena_reset(arena);
	parts[2] = feedback_digest(arena, in.raw);
	e = intake_quarantine_event(
	    arena, "mail", "unreadable", feedback_key(arena, parts, 3), why.msg, in.raw);
	if (e == NULL || e->key.len == 0)
		return -1;
	intake_keep_whole(arena, e,
	    &(struct feedback_kept){
		.form = "mail", .rcpts = lines_of(arena, mail), .content = in.raw });
	*events = (struct feedback_events){ .items = e, .count = 1, .capacity = 1 };
	return 0;
}

/* Not what goes round in circles: a copy of it may be what comes back next. */
static bool
is_for_person(const struct mail_intake_mail *mail, const struct feedback_events *events)
{
	static const char *const loop[] = { "mail_loop" };

	if (has_reason(&events->items[0], loop, 1))
		return false;
	return mail->is_for_person || !mail_intake_is_understood(events);
}

int
mail_intake_read(const struct mail_intake *how, const struct mail_intake_mail *mail,
    struct arena *arena, struct feedback_events *events)
{
	struct err why = { 0 };

	if (read_events(how, mail, arena, events) < 0)
		return -1;
	if (how->keep == NULL || !is_for_person(mail, events) ||
	    keep_mail(how->keep, mail->trace, mail->raw, &why) == 0)
		return 0;
	log_error("mail for a person cannot be kept, told to try again error=\"%s\"", why.msg);
	return -1;
}
