/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_worker: strangers' mail is parsed in a process of its own, which has no key, no database, no
 * network, no file and no right to make any (contain_parser()); mail_wire.h is what is said.
 *
 *   daemon ──asks for a parser──▶ nursery ──makes──▶ parser ◀──mail, events── daemon
 *
 * The nursery is made first of all, so that it and its children inherit neither secrets nor
 * threads; it only makes parsers, one at a time, and ends with the daemon. A parser that dies,
 * is silent for MAIL_WORKER_SILENT_S or talks nonsense is replaced. A mail that did this
 * twice is unreadable.
 */
#ifndef KAIRAN_FEEDBACK_MAIL_WORKER_H
#define KAIRAN_FEEDBACK_MAIL_WORKER_H

#include <stdbool.h>

#include "arena.h"
#include "err.h"
#include "event.h"
#include "inbound.h"

#define MAIL_WORKER_SILENT_S 10
#define MAIL_WORKER_TRIES 2

enum mail_worker_result {
	MAIL_WORKER_READ,	/* at least one event */
	MAIL_WORKER_UNREADABLE, /* it never will be: err says why */
	MAIL_WORKER_NONE	/* no parser can be made now: again later */
};

struct mail_worker;

/* First in main. NULL with err when a process cannot be made. */
struct mail_worker *mail_worker_start(struct err *err);

/* The last call ends the nursery and its parser. */
void mail_worker_free(struct mail_worker *worker);

/* Whether parsers made from now on are contained; they are unless it says no. */
void mail_worker_contain(struct mail_worker *worker, bool is_contained);

/* inbound_parse() in the parser; tokens are verified here, by in->keys. From any thread, one at a
 * time. Blocks MAIL_WORKER_TRIES times MAIL_WORKER_SILENT_S at most. Events are in the arena. */
enum mail_worker_result mail_worker_read(struct mail_worker *worker, const struct inbound_input *in,
    struct arena *arena, struct feedback_events *events, struct err *err) MUST_CHECK;

#endif
