/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_compose: the mail of a campaign for one recipient, made by the same code that the
 * dispatcher uses, for a person to look at; and whether the dispatcher could send it.
 */
#ifndef KAIRAN_CAMPAIGN_COMPOSE_H
#define KAIRAN_CAMPAIGN_COMPOSE_H

#include <stdbool.h>

#include "buf.h"
#include "campaign_source.h"
#include "config.h"
#include "err.h"

struct campaign_mail {
	struct buf eml; /* the whole message */
	struct buf subject;
	struct buf html; /* empty: there is none */
	struct buf text;
	char from[600]; /* Name <address> */
	char to[600];
	unsigned raw_fields;   /* {{{name}}} tags in the html */
	struct err unfit;      /* why ses_content of the stream cannot carry it; "": it can */
	struct err unread_key; /* then: why it is not known whether it will be signed; "": it is */
};

/*
 * recipient: a JSON text that jsontext_check() took, an object with email and the customer's
 * fields, which may also stand in its member "attributes"; empty: every field shows its own
 * name in brackets. to: an address that
 * takes the place of email, or NULL. mark: text put before the subject, or NULL. A field that
 * is not there is an error unless missing_field is blank. 0, or -1 with err. Release either
 * way.
 */
int campaign_compose(struct campaign_mail *mail, struct campaign_source *source,
    const struct config *config, struct slice recipient, const char *to, const char *mark,
    struct err *err) MUST_CHECK;

/* Signs mail->eml as the dispatcher would (dkim.dir), if there is a key for its sender. 0, or -1 with
 * err when there is one that cannot be used: the mail is then whole, but unsigned. */
int campaign_sign(struct campaign_mail *mail, const struct campaign_source *source,
    const struct config *config, struct err *err) MUST_CHECK;

void campaign_mail_release(struct campaign_mail *mail);

#endif
