/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_source: a campaign with its texts, read from a campaign file and the template files
 * it names, or from the database. Template files are opened component by component below the
 * folder of the campaign file: no "..", no symbolic link, regular files only, 1 MiB at most. So
 * are attachments and images, each once, 10 MiB at most together.
 *
 * {{> name}} in a template takes the file `name` of the template's folder, with the template's
 * ending when the name has none. Its text is put behind the template as {{#*inline "name"}}, so
 * what is kept in the database stands for itself.
 */
#ifndef KAIRAN_CAMPAIGN_SOURCE_H
#define KAIRAN_CAMPAIGN_SOURCE_H

#include <stdbool.h>

#include "arena.h"
#include "attach.h"
#include "campaign_file.h"
#include "db.h"
#include "err.h"
#include "ses_content.h"
#include "slice.h"

/* What a part was read from. */
struct campaign_piece {
	const char *path; /* as a person would open it */
	const char *part; /* "", or " (HtmlPart)" of a template of Amazon SES */
	size_t from;	  /* where its text begins in the part */
	struct slice text;
};

struct campaign_pieces {
	struct campaign_piece *piece; /* TEMPLATE_PARTIALS_MAX + 1; in the order of `from` */
	size_t count;		      /* 0: not from files */
};

struct campaign_source {
	struct arena arena; /* owns everything here */
	struct campaign_file file;
	const char *path;    /* of the campaign file as given; NULL when read from the database */
	struct slice source; /* the campaign file as it was read */
	struct slice html;   /* names its images by content id */
	struct slice text;
	struct campaign_pieces html_pieces;
	struct campaign_pieces text_pieces;
	struct attach files[ATTACH_COUNT_MAX];
	const char *paths[ATTACH_COUNT_MAX];   /* of files; NULL when read from the database */
	const char *digests[ATTACH_COUNT_MAX]; /* SHA-256 in hexadecimal */
	size_t file_count;
	const char *unsubscribe_base; /* of the stream, from the database; else "" */
	const char *return_path_domain;
	bool auto_submitted;
	enum ses_content ses_content;
};

/* 0, or -1 with err ("path:line: what is wrong"). Release either way. */
int campaign_source_read(struct campaign_source *s, const char *path, struct err *err) MUST_CHECK;

/* 1 when found, 0 when there is no such campaign, -1 with db->error. Release either way. */
int campaign_source_fetch(struct campaign_source *s, struct db *db, const char *name) MUST_CHECK;

/* Shows the files to clamd (config scan.clamd; "": to nobody). 0, or -1 with err. */
int campaign_source_scan(
    const struct campaign_source *s, const char *clamd, struct err *err) MUST_CHECK;

void campaign_source_release(struct campaign_source *s);

/* "path:line: " of the campaign file into dst; "" for a campaign of the database. */
const char *campaign_source_at(
    const struct campaign_source *s, size_t line, char *dst, size_t size);

#endif
