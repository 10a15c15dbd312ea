/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_file: the text of one campaign file, as kairan-campaign(5) describes it, turned into
 * values. Pure: it opens nothing and asks no clock and no database.
 *
 * Accepted: UTF-8; sections in brackets; "key = value"; a line that begins with a blank goes on
 * with the value above it; lines that begin with # or ; are remarks. Refused, with the line: an
 * unknown section or key, a key given twice, a value that is not of its kind, control characters,
 * a missing key without which nothing can be sent.
 */
#ifndef KAIRAN_CAMPAIGN_FILE_H
#define KAIRAN_CAMPAIGN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define CAMPAIGN_FILE_MAX ((size_t)256 << 10) /* bytes */
#define CAMPAIGN_VALUE_MAX ((size_t)16 << 10) /* bytes of one value */
#define CAMPAIGN_HEADERS_MAX 50
#define CAMPAIGN_LIST_MAX 200 /* names in one list */

struct campaign_header {
	const char *name;
	const char *value;
};

struct campaign_names {
	const char **name;
	size_t count;
};

/* Every string is owned by the arena and never NULL; "" when the key is absent. */
struct campaign_file {
	const char *name; /* [a-z0-9][a-z0-9._-]*, at most 100 */
	const char *stream;
	const char *subject;
	const char *from_name;
	const char *from_address; /* as addr_parse() gives it */
	const char *sender_name;
	const char *sender_address;
	const char *reply_to_name;
	const char *reply_to;
	const char *html; /* relative paths, see campaign_path_ok() */
	const char *text;
	const char *template; /* the same: subject, html and text in one file of Amazon SES */
	struct campaign_names attachments; /* paths */
	struct campaign_names inline_images;
	const char *embed_images;	   /* yes, no */
	struct campaign_names iso_2022_jp; /* domains, as addr_parse() gives them */
	const char *list;
	const char *segment;
	const char *missing_field; /* fail, skip, blank */
	const char *bad_field;	   /* clean, refuse */
	struct campaign_names exclude_campaigns;
	struct campaign_names exclude_segments;
	const char *start; /* checked by campaign_time_ok() */
	const char *not_after;
	int32_t window_s; /* 0: none */
	int32_t spread_s; /* 0: none */
	int32_t canary;	  /* recipients that are sent to first; 0: all at once */
	int32_t canary_wait_s;
	int32_t weight;
	int32_t quiet_from, quiet_till; /* minutes of the day; equal: none */
	const char *time_zone;		/* "": UTC */
	const char *zone_field;
	const char *origin_field; /* empty: none */
	const char *repeat;	  /* "", daily, weekly, monthly, "every N minutes|hours|days" */
	const char *hook_command;
	const char *hook_url;
	struct campaign_header headers[CAMPAIGN_HEADERS_MAX];
	size_t header_count;
	/* lines for errors that only a database can find; 0 when the key is absent */
	size_t stream_line, subject_line, html_line, text_line, template_line, attachments_line,
	    inline_line, segment_line, exclude_campaigns_line, exclude_segments_line, start_line,
	    not_after_line, time_zone_line, headers_line;
};

/* 0, or -1 with err: msg without the line, offset = line (1 is the first; 0: the whole file).
 * text is borrowed during the call. */
int campaign_file_parse(
    struct campaign_file *f, struct slice text, struct arena *arena, struct err *err) MUST_CHECK;

/* A name of a campaign: what the column kairan.campaign.name accepts. */
bool campaign_name_ok(struct slice name) MUST_CHECK;

/* A relative path of plain components: not absolute, no empty one, no "." or "..". */
bool campaign_path_ok(struct slice path) MUST_CHECK;

/*
 * A point in time with its zone: "2026-12-01 10:00 Asia/Tokyo", "2026-12-01T10:00:00+09:00",
 * "2026-12-01 01:00 UTC". PostgreSQL reads all that passes. 0, or -1 with err. A time without
 * a zone and abbreviations like JST or CST are refused: they mean different things to
 * different readers.
 */
int campaign_time_ok(struct slice text, struct err *err) MUST_CHECK;

/* "90", "90s", "15m", "2h", "3d" to seconds (1 s to 366 days); -1 when it is no duration. */
int32_t campaign_duration(struct slice text);

/* Brings "every 2 days" and its like into the form of the column recurrence; NULL when it is
 * none (or without memory). Owned by the arena. */
const char *campaign_repeat(struct slice text, struct arena *arena);

#endif
