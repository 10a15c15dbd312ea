/* SPDX-License-Identifier: Apache-2.0 */
/* outcome: names of the enums, as the database stores and the manual lists them. */
#include "outcome.h"

#include <assert.h>
#include <stdio.h>

static const char *const kind_names[OUTCOME_KINDS] = {
	[OUTCOME_SENT] = "sent",
	[OUTCOME_DEFERRED] = "deferred",
	[OUTCOME_FAILED] = "failed",
	[OUTCOME_IN_DOUBT] = "in_doubt",
	[OUTCOME_RELEASED] = "released",
	[OUTCOME_DELIVERED] = "delivered",
	[OUTCOME_BOUNCED] = "bounced",
	[OUTCOME_DELAYED] = "delayed",
	[OUTCOME_COMPLAINED] = "complained",
	[OUTCOME_UNSUBSCRIBED] = "unsubscribed",
	[OUTCOME_OPENED] = "opened",
	[OUTCOME_CLICKED] = "clicked",
	[OUTCOME_REJECTED] = "rejected",
	[OUTCOME_ACCEPTED] = "accepted",
	[OUTCOME_OTHER] = "other",
};

static const char *const class_names[OUTCOME_CLASSES] = {
	[OUTCOME_CLASS_NONE] = "",
	[OUTCOME_HARD] = "hard",
	[OUTCOME_SOFT] = "soft",
	[OUTCOME_BLOCK] = "block",
	[OUTCOME_MESSAGE] = "message",
	[OUTCOME_CONFIG] = "config",
};

static const char *const scope_names[OUTCOME_SCOPES] = {
	[OUTCOME_SCOPE_RECIPIENT] = "recipient",
	[OUTCOME_SCOPE_MESSAGE] = "message",
	[OUTCOME_SCOPE_SESSION] = "session",
	[OUTCOME_SCOPE_ROUTE] = "route",
	[OUTCOME_SCOPE_HOST] = "host",
	[OUTCOME_SCOPE_DOMAIN] = "domain",
};

static const char *const phase_names[OUTCOME_PHASES] = {
	[OUTCOME_PHASE_NONE] = "",
	[OUTCOME_PHASE_CONNECT] = "connect",
	[OUTCOME_PHASE_GREETING] = "greeting",
	[OUTCOME_PHASE_EHLO] = "ehlo",
	[OUTCOME_PHASE_TLS] = "tls",
	[OUTCOME_PHASE_AUTH] = "auth",
	[OUTCOME_PHASE_MAIL] = "mail",
	[OUTCOME_PHASE_RCPT] = "rcpt",
	[OUTCOME_PHASE_DATA] = "data",
	[OUTCOME_PHASE_BODY] = "body",
	[OUTCOME_PHASE_DOT] = "dot",
};

const char *
outcome_kind_name(enum outcome_kind kind)
{
	assert((unsigned)kind < OUTCOME_KINDS);
	return kind_names[kind];
}

const char *
outcome_class_name(enum outcome_class cls)
{
	assert((unsigned)cls < OUTCOME_CLASSES);
	return class_names[cls];
}

const char *
outcome_scope_name(enum outcome_scope scope)
{
	assert((unsigned)scope < OUTCOME_SCOPES);
	return scope_names[scope];
}

const char *
outcome_phase_name(enum outcome_phase phase)
{
	assert((unsigned)phase < OUTCOME_PHASES);
	return phase_names[phase];
}

const char *
outcome_enhanced_str(const struct outcome *o, char *dst)
{
	dst[0] = '\0';
	if (o->enhanced[0] != 0)
		(void)snprintf(dst, 12, "%u.%u.%u", o->enhanced[0] % 10u, o->enhanced[1] % 1000u,
		    o->enhanced[2] % 1000u);
	return dst;
}
