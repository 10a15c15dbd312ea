/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jsontext: the values inside a JSON text (RFC 8259), found where they stand without building
 * anything: no memory is taken. A text is checked once by jsontext_check(); what the other
 * functions are given must be such a text, or a value that they found in one.
 */
#ifndef KAIRAN_JSONTEXT_H
#define KAIRAN_JSONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "slice.h"

#define JSONTEXT_DEPTH_MAX 16 /* lists and objects inside each other */

enum jsontext_kind {
	JSONTEXT_NONE, /* the empty slice */
	JSONTEXT_NULL,
	JSONTEXT_FALSE,
	JSONTEXT_TRUE,
	JSONTEXT_NUMBER,
	JSONTEXT_STRING,
	JSONTEXT_LIST,
	JSONTEXT_OBJECT
};

/*
 * True when text is one JSON value with nothing but blanks around it, not nested deeper than
 * JSONTEXT_DEPTH_MAX, without \u0000 and with every \u surrogate in its pair. UTF-8 is the
 * caller's to check.
 */
bool jsontext_check(struct slice text);

/* The value without the blanks around it. */
struct slice jsontext_value(struct slice text);

enum jsontext_kind jsontext_kind(struct slice value);

/* A walk over the members of an object or the elements of a list. */
struct jsontext_walk {
	struct slice rest; /* behind the current value */
	bool object;
	struct slice key;   /* between its quotes, escapes as they are; empty in a list */
	struct slice value; /* the current value */
	bool last;	    /* nothing comes behind it */
};

/* Starts before the first; anything but an object or a list has no values. */
struct jsontext_walk jsontext_walk(struct slice value);

/* Goes on to the next value; false behind the last. */
bool jsontext_next(struct jsontext_walk *walk);

/* The member of an object, or the element of a list whose place (from 0) the name says; the
 * empty slice when there is none. The first of equal names counts. */
struct slice jsontext_member(struct slice value, struct slice name);

/* The inside of a string, escapes as they are. */
struct slice jsontext_inside(struct slice string);

/* Takes the escapes out of the inside of a string (or a key). dst has room for inside.len
 * bytes. Returns the length. */
size_t jsontext_decode(struct slice inside, char *dst);

#endif
