/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret: small files that only their owner may read: keys of tokens and of signatures. `what`
 * names the kind of file in errors ("key file"). Contents are wiped from memory by the caller.
 */
#ifndef KAIRAN_SECRET_H
#define KAIRAN_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"
#include "slice.h"

/* Nobody but its owner may read it (mode & 077). A credential of systemd may show a group: that is the
 * mask of the access list that lets only this service read it. */
bool secret_is_private(const char *path, mode_t mode);

/*
 * Reads a whole regular file of less than `size` bytes and puts a NUL behind it that *len does
 * not count. Refuses a file that others can read (mode & 077). 0, or -1 with err; errno is
 * ENOENT or EACCES when opening failed with it.
 */
int secret_read(const char *what, const char *path, char *dst, size_t size, size_t *len,
    struct err *err) MUST_CHECK;

/* Makes a new file, mode 600, on disk when this returns. Never replaces one: -1 with errno EEXIST
 * then. On failure nothing is left behind. */
int secret_create(
    const char *what, const char *path, struct slice text, struct err *err) MUST_CHECK;

/* Puts the text in the place of the file at once, as whole, keeping its owner; by way of
 * PATH.new, which must not be there (two at once would lose one change). */
int secret_replace(
    const char *what, const char *path, struct slice text, struct err *err) MUST_CHECK;

#endif
