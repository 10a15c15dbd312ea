/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links: the links of an HTML template, as they are rewritten once per campaign so that opens and
 * clicks can be counted. Template in, template out; pure. What a reader sees does not change:
 * only values of href (and src, for files) do, and one image of a pixel is added.
 *
 *   <a href="https://shop.example/?a=1&amp;b=2">  ->  <a href="BASEk/{{kairan.token}}/ID">
 *
 * ID is made from the destination, which the caller keeps under it: what a request says is never
 * where it leads to (CWE-601). The token is signed for each recipient.
 *
 * Left alone: what is not http: or https: with a host; a link with a field or condition in it,
 * since its destination is not known beforehand; a tag with conditions between its attributes;
 * links that begin like one of `leave`; tags with the attribute kairan:no-track or ses:no-track.
 * kairan:no-track is always taken out, ses:no-track unless keep_ses is set: when the mail goes to
 * Amazon SES, that is who reads it (and takes it out).
 */
#ifndef KAIRAN_LINKS_H
#define KAIRAN_LINKS_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define LINKS_MAX 1000
#define LINK_URL_MAX ((size_t)2000)
#define LINK_ID_CHARS 13	   /* 64 bits of SHA-256 in base32 */
#define LINKS_TOKEN "kairan.token" /* the built-in name of templates */

struct link {
	char id[LINK_ID_CHARS + 1];
	struct slice url; /* ASCII, fit for a Location header; in the arena, with a NUL behind it */
};

struct links {
	struct link *items; /* in the arena; each destination once */
	size_t count;
};

struct links_options {
	struct slice base; /* https://host/ with "/" at the end; ASCII without quotes */
	bool opens;	   /* add the pixel BASEo/{{kairan.token}} */
	bool clicks;
	bool files; /* cid:NAME becomes BASEv/{{kairan.token}}/NAME */
	bool keep_ses;
	struct slice leave[2]; /* links that begin so are not rewritten; empty: none */
};

/* The rewritten template in *out (in the arena, or html itself when nothing changes). 0, or -1 with
 * err: no memory, or more than LINKS_MAX links. */
int links_rewrite(struct slice html, const struct links_options *options, struct arena *arena,
    struct links *links, struct slice *out, struct err *err) MUST_CHECK;

/* The value of an href (with character references) as it stands in a Location header; empty when it
 * is no http: or https: URL that could. */
struct slice links_destination(struct slice value, struct arena *arena);

/* Exactly an id, as links_rewrite makes them. */
bool links_id_ok(struct slice id);

#endif
