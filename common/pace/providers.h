/* SPDX-License-Identifier: Apache-2.0 */
/*
 * providers: which mailbox provider a domain or its MX hosts belong to, how fast one may start
 * there, and what its replies ask for. A table of text (common/data/providers.tsv is built in);
 * rows of a second text override the first one's. Pure: no DNS, no file.
 */
#ifndef KAIRAN_PROVIDERS_H
#define KAIRAN_PROVIDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "slice.h"

#define PROVIDERS_TEXT_MAX ((size_t)4 << 20)
#define PROVIDERS_NAME_MAX 40
#define PROVIDERS_GROUPS_MAX 512
#define PROVIDERS_NONE (-1)
#define PROVIDERS_UNKNOWN "default" /* the group of sites that the table does not know */

enum guard_mode { GUARD_OFF, GUARD_SOFT, GUARD_STRICT };

enum reaction {
	REACTION_NONE,
	REACTION_CONN,		 /* fewer connections, the same rate */
	REACTION_MPC,		 /* fewer messages per connection */
	REACTION_RATE,		 /* a lower rate */
	REACTION_HOLD,		 /* silence for minutes, then one probe */
	REACTION_STOP,		 /* silence until an operator acts */
	REACTION_RCPT,		 /* this recipient only, later */
	REACTION_DROP,		 /* this recipient only, never again */
	REACTION_PAUSE_CAMPAIGN, /* content or authentication: this campaign at this group */
	REACTION_ACCOUNT_RATE,	 /* the account's rate */
	REACTION_ACCOUNT_HOLD	 /* the account's day quota */
};

struct provider_group {
	char name[PROVIDERS_NAME_MAX];
	int connections;
	int messages_per_connection;
	double rate_per_s; /* of one source address, to start with */
	enum guard_mode guard;
	char zone[PROVIDERS_NAME_MAX]; /* IANA name: whose hours the guard keeps */
	size_t line;		       /* of its row in the override; 0: in the text below it */
};

struct provider_verdict {
	enum reaction reaction;
	int minutes;		 /* 0: the reaction's own */
	bool at_once;		 /* counts with the first event, without a noise floor */
	bool by_words, by_group; /* the rule names words of the reply; and its groups */
};

struct providers;

/* Parses `text` and then, over it, `override` ({NULL, 0}: none). Owned by the caller; NULL with
 * err, whose offset is the line. Every lint of the table is an error here: an unknown group, two
 * different rows for one name, a bad rate, an MX that is no host, a row without its source. */
struct providers *providers_new(
    struct slice text, struct slice override, struct err *err) MUST_CHECK;
void providers_free(struct providers *p);

size_t providers_count(const struct providers *p);
const struct provider_group *providers_group(const struct providers *p, int group);
int providers_find(const struct providers *p, struct slice name); /* PROVIDERS_NONE: unknown */
int providers_unknown(const struct providers *p);		  /* the group of that name */

/* Connections to one destination, messages of one connection: the lower of the table's and the configured
 * ones. Sites that the table does not know (PROVIDERS_NONE, the group of that name) keep the latter. */
unsigned providers_connections(const struct providers *p, int group, unsigned configured);
unsigned providers_messages(const struct providers *p, int group, unsigned configured);

/* The group that something was filed under; a group that the table no longer has is unknown. */
int providers_filed(const struct providers *p, struct slice name);

/* By the domain's own row: its name, then name.*, then the longest .suffix; any case, one dot at
 * the end is ignored. PROVIDERS_NONE when there is none. */
int providers_of_domain(const struct providers *p, struct slice domain);

/* By the hosts of lowest preference: every one must belong to the same group, else
 * PROVIDERS_NONE (a site of its own). */
int providers_of_mx(const struct providers *p, const struct slice *hosts, size_t count);

/* What a reply asks for. enhanced may be empty; text is looked at without regard to case, its
 * first 2 kB. Only replies of remote hosts belong here, never our own words. */
struct provider_verdict providers_reaction(
    const struct providers *p, int group, int code, struct slice enhanced, struct slice text);

const char *reaction_name(enum reaction reaction);
bool reaction_parse(
    enum reaction *reaction, struct slice name) MUST_CHECK; /* false: there is none */
const char *guard_name(enum guard_mode mode);

/* "strict", "soft" or "off"; false when it is none. */
bool guard_parse(enum guard_mode *mode, struct slice text);

#endif
