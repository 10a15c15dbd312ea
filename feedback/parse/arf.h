/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arf: the body of a message/feedback-report part (RFC 5965 section 3; types of RFC 6430 and
 * RFC 6591). Pure. What is redacted or absent is empty.
 */
#ifndef KAIRAN_ARF_H
#define KAIRAN_ARF_H

#include <stdint.h>

#include "arena.h"
#include "event.h"
#include "slice.h"

enum arf_type {
	ARF_ABUSE,
	ARF_FRAUD,
	ARF_VIRUS,
	ARF_OTHER, /* also unknown types, and opt-out of old drafts (RFC 5965 section 7.3) */
	ARF_NOT_SPAM,
	ARF_AUTH_FAILURE
};

struct arf {
	bool has_type; /* Feedback-Type was there; without it the report is not acted on */
	enum arf_type type;
	struct slice type_name; /* as reported */
	struct slice user_agent;
	struct slice mail_from;	  /* Original-Mail-From without angle brackets */
	struct slice rcpt_to;	  /* the first Original-Rcpt-To */
	struct slice envelope_id; /* Original-Envelope-Id */
	struct slice reporting_mta;
	struct slice source_ip;
	struct slice auth_failure;
	int64_t arrival_us; /* 0 unknown */
	unsigned incidents; /* 1 when absent */
};

/* 0, or -1 without memory. */
int arf_parse(struct arf *arf, struct slice body, struct arena *arena) MUST_CHECK;

/* kind, reason, address, remote of the event: a complaint, or OTHER for not-spam and
 * auth-failure. */
void arf_judge(const struct arf *arf, struct arena *arena, struct feedback_event *event);

/* "abuse", … */
const char *arf_type_name(enum arf_type type);

#endif
