/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_source: a campaign with its texts, read from a campaign file and the template files
 * it names, or from the database. Template files are opened component by component below the
 * folder of the campaign file: no "..", no symbolic link, regular files only, 1 MiB at most.
 */
#ifndef KAIRAN_CAMPAIGN_SOURCE_H
#define KAIRAN_CAMPAIGN_SOURCE_H

#include <stdbool.h>

#include "arena.h"
#include "campaign_file.h"
#include "db.h"
#include "err.h"
#include "slice.h"

struct campaign_source {
	struct arena arena; /* owns everything here */
	struct campaign_file file;
	const char *path;    /* of the campaign file as given; NULL when read from the database */
	struct slice source; /* the campaign file as it was read */
	struct slice html;
	struct slice text;
	const char *unsubscribe_base; /* of the stream, from the database; else "" */
	const char *return_path_domain;
};

/* 0, or -1 with err ("path:line: what is wrong"). Release either way. */
int campaign_source_read(struct campaign_source *s, const char *path, struct err *err) MUST_CHECK;

/* 1 when found, 0 when there is no such campaign, -1 with db->error. Release either way. */
int campaign_source_fetch(struct campaign_source *s, struct db *db, const char *name) MUST_CHECK;

void campaign_source_release(struct campaign_source *s);

/* "path:line: " of the campaign file into dst; "" for a campaign of the database. */
const char *campaign_source_at(
    const struct campaign_source *s, size_t line, char *dst, size_t size);

#endif
