/* SPDX-License-Identifier: Apache-2.0 */
/*
 * html_images: finds the images that HTML names (src and background of any tag, between quotes)
 * and puts other names in their place. Pure; what it does not understand stays as it is, so
 * names made by template tags and url() in styles are left alone.
 */
#ifndef KAIRAN_HTML_IMAGES_H
#define KAIRAN_HTML_IMAGES_H

#include "buf.h"
#include "err.h"
#include "slice.h"

enum html_image {
	HTML_IMAGE_CID,	 /* cid:NAME; the callback gets NAME */
	HTML_IMAGE_FILE, /* a relative path, without a leading "./" */
};

/* Sets *id to the content id to write, or leaves it empty to leave the name alone. 0, or -1 with
 * err. */
typedef int html_image_id(
    void *ctx, enum html_image kind, struct slice name, struct slice *id, struct err *err);

/* Appends html to out with its images renamed. 0, or -1 with the callback's err. */
int html_images_rename(struct buf *out, struct slice html, html_image_id *id_of, void *ctx,
    struct err *err) MUST_CHECK;

#endif
