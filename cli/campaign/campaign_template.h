/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_template: the templates of one campaign: compiled for a look, with errors that name
 * the file, and what they ask of a customer.
 */
#ifndef KAIRAN_CAMPAIGN_TEMPLATE_H
#define KAIRAN_CAMPAIGN_TEMPLATE_H

#include <stdbool.h>

#include "campaign_source.h"
#include "err.h"
#include "slice.h"
#include "template.h"

enum campaign_part { CAMPAIGN_SUBJECT, CAMPAIGN_HTML, CAMPAIGN_TEXT, CAMPAIGN_PARTS };

/* One field that the templates use. */
struct campaign_field {
	struct slice name;
	bool json;		 /* used by #each or #with */
	bool required;		 /* somewhere without default and outside of conditions on it */
	bool used;		 /* false: by nothing that is compiled */
	enum campaign_part part; /* where it is first (required) */
	size_t at;		 /* the byte there */
	/* where it is first without default and not under an #if on itself: who lacks it is stopped
	 * there, when other conditions let it be shown (required: whatever they say) */
	bool stops;
	enum campaign_part stops_part;
	size_t stops_at;
};

struct campaign_templates {
	struct template part[CAMPAIGN_PARTS]; /* without ops when there is none */
	struct template_fields fields;
	struct campaign_field *field; /* fields.count of them */
	bool needs_unsubscribe;	      /* unsubscribe_url is required */
	bool needs_view;	      /* view_url is */
};

/* Compiles all of them into the arena of source. 0, or -1 with err:
 * "folder/newsletter.html:3:14: what is wrong: "text"". */
int campaign_templates(
    struct campaign_templates *t, struct campaign_source *source, struct err *err) MUST_CHECK;

/* The template of a part; empty when there is none. */
struct slice campaign_part_text(const struct campaign_source *source, enum campaign_part part);

/* subject, html or text. */
const char *campaign_part_name(enum campaign_part part);

/* Where a byte of a part stands. */
struct campaign_place {
	const char *path; /* NULL: in no file, as all of a campaign of the database */
	const char *part; /* as campaign_piece has it */
	size_t line;	  /* of a subject: that of the key in the campaign file */
	size_t column;	  /* in characters; of a subject: in its value */
};

struct campaign_place campaign_part_place(
    const struct campaign_source *source, enum campaign_part part, size_t offset);

/* "file:line:column: " of a byte of a part into dst. A campaign of the database has no files:
 * "html: line 3, column 14: ". */
const char *campaign_part_at(const struct campaign_source *source, enum campaign_part part,
    size_t offset, char *dst, size_t size);

#endif
